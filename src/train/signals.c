#include "train/signals.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>

static volatile sig_atomic_t stop_requested, save_requested;

static void on_signal(int signal) {
    if (signal == SIGUSR2)
        save_requested = 1;
    else
        stop_requested = 1;
}

static const int handled[] = {SIGTERM, SIGINT, SIGUSR1, SIGUSR2}, ignored[] = {SIGPIPE, SIGXFSZ};

static void set_mask(int how) {
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++) sigaddset(&set, handled[i]);
    sigprocmask(how, &set, NULL);
}

void gm_signals_hold(void) { set_mask(SIG_BLOCK); }

void gm_signals_install(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    action.sa_handler = on_signal;
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++) sigaction(handled[i], &action, NULL);
    action.sa_handler = SIG_IGN;
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) sigaction(ignored[i], &action, NULL);
    set_mask(SIG_UNBLOCK);
}

bool gm_signals_stop(void) { return stop_requested != 0; }

bool gm_signals_take_save(void) {
    bool requested = save_requested != 0;
    save_requested = 0;
    return requested;
}

#include "train/signals.h"

#include <assert.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static atomic_bool stop_requested, save_requested; /* lock-free, as a handler needs them */
static_assert(ATOMIC_BOOL_LOCK_FREE == 2, "a signal handler may not wait for a lock");

static void on_signal(int signal) { atomic_store(signal == SIGUSR2 ? &save_requested : &stop_requested, true); }

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

bool gm_signals_stop(void) { return atomic_load(&stop_requested); }

/* In one step: a signal between reading and clearing would be lost. */
bool gm_signals_take_save(void) { return atomic_exchange(&save_requested, false); }

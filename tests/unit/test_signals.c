/* Requests by signal: none gets lost, whatever moment it comes in. */
#include "train/signals.h"

#include "test_support.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

/* YIELD: for machines with one processor */
enum { SIGNALS = 100000, YIELD = 1000 };

static atomic_int sent, taken; /* numbers of signals */

/* Sends one after the other, each once the one before was taken; the handler runs in this thread. */
static void *send_signals(void *unused) {
    (void)unused;
    for (int i = 1; i <= SIGNALS; i++) {
        raise(SIGUSR2);
        atomic_store(&sent, i);
        for (unsigned looks = 1; atomic_load(&taken) < i; looks++) {
            if (atomic_load(&taken) < 0) return NULL; /* the test has failed */
            if (looks % YIELD == 0) sched_yield();
        }
    }
    return NULL;
}

static void test_no_request_is_lost(void **state) {
    (void)state;
    pthread_t sender;
    int lost = 0;
    gm_signals_install();
    assert_false(gm_signals_take_save());
    assert_int_equal(pthread_create(&sender, NULL, send_signals, NULL), 0);
    for (int i = 1; i <= SIGNALS && !lost; i++) {
        bool asked = false;
        for (unsigned looks = 1; !asked && atomic_load(&sent) < i; looks++) { /* while it may come at any moment */
            asked = gm_signals_take_save();
            if (looks % YIELD == 0) sched_yield();
        }
        if (!asked) asked = gm_signals_take_save(); /* it has come */
        lost = asked ? 0 : i;
        for (unsigned looks = 1; !lost && atomic_load(&sent) < i; looks++)
            if (looks % YIELD == 0) sched_yield();
        atomic_store(&taken, lost ? -1 : i);
    }
    pthread_join(sender, NULL);
    if (lost) fail_msg("signal %d was lost", lost);
    assert_false(gm_signals_take_save() || gm_signals_stop());
    raise(SIGTERM);
    assert_true(gm_signals_stop() && gm_signals_stop());
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_request_is_lost)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

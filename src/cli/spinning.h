/* How long OpenMP's threads wait in busy loops. libgomp's own bound, 300000 turns, is several milliseconds: where something else
 * uses a core, the thread that all wait for is not running, and each of a small model's many loops loses that time. It reads
 * the bound from the environment before main, so that a program can only set it there and begin again. */
#ifndef GM_CLI_SPINNING_H
#define GM_CLI_SPINNING_H

/* Where neither GOMP_SPINCOUNT nor OMP_WAIT_POLICY is set: sets the first and executes the program again, with the same arguments
 * and as the same process. Called first in main. Where that cannot be done it returns and all goes on, slower at worst. */
void gm_bound_spinning(char **argv);

#endif

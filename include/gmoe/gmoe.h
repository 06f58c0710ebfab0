/* gmoe: fine-tunes language models with a mixture of LoRA experts (GMoE, arXiv 2412.16216).
 *
 * Version and status codes, for all of the code: every function that can fail returns a gm_status, which is also the exit
 * code of the programs; the message of the last failure on this thread is gm_error_text(). The programs are the interface:
 * no header of the library is installed. */
#ifndef GMOE_GMOE_H
#define GMOE_GMOE_H

#ifdef __cplusplus
extern "C" {
#endif

#define GMOE_VERSION "0.1.0"

typedef enum gm_status {
    GM_OK = 0,
    GM_FAIL = 1,         /* run-time failure: I/O, device                        */
    GM_USAGE = 2,        /* command line or configuration                        */
    GM_BAD_FILE = 3,     /* a model, tokenizer, data or adapter file is bad      */
    GM_NO_MEMORY = 4,    /* out of memory                                        */
    GM_DIVERGED = 5,     /* a loss or gradient is not finite                     */
    GM_INTERRUPTED = 75, /* stopped by a signal; what was done is saved: run again with --resume (EX_TEMPFAIL) */
} gm_status;

/* One line: what failed, where, what to do. Empty after no failure. Valid until the thread's next failure. */
const char *gm_error_text(void);

#ifdef __cplusplus
}
#endif
#endif

/* report.html: a run's output directory as one page that needs nothing but a browser. */
#ifndef GM_TRAIN_REPORT_PAGE_H
#define GM_TRAIN_REPORT_PAGE_H

#include "base/file.h"

/* Reads config.json, metrics.jsonl, result.json and adapter/ of a finished run and writes report.html beside them, so that it
 * shows all of the run, resumed or not. What is absent (metrics, experts) is left out. */
gm_status gm_report_page_write(const char *directory);

#endif

/* summary - what is wrong with a row, in one line for people. */
#pragma once

struct explained;
struct vocabulary;
struct text;

/* "disk_io 91.2 (expected 12.4, usually 8 to 40), cpu 3 (expected 1); net_rx as usual": of the
 * contributions up to three that have a tenth of the blame. What is usual is told of a value that
 * lies outside; of one that does not, only what the others let expect is news. As usual is what a
 * named one normally moves together with, and now does not. If none has a tenth, "many features,
 * first of all …"; if none has any, nothing. */
void summary_print(struct text *text, const struct vocabulary *vocabulary,
                   const struct explained *explained);

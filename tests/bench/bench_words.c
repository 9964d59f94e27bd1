/* bench_words - what the words of a request cost: numbers read and written, rows and verdicts; run
 * by `make bench`.
 *
 * CPU time of this thread, everything in turns in one run, medians: a noisy neighbour hits all
 * alike. Bodies are those of 1000 rows of 38 features; jansson reads the same ones beside us. */
#include "base/number.h"
#include "base/random.h"
#include "base/sort.h"
#include "base/text.h"
#include "data/json_rows.h"
#include "data/schema.h"
#include "detector/detector.h"
#include "detector/verdict_json.h"
#include "detector/vocabulary.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define N_FEATURES 38
#define N_ROWS     1000
#define N_VALUES   (N_FEATURES * N_ROWS)
#define N_ROUNDS   25

static double cpu_seconds(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- kinds of bodies ---- */

static void put_shortest(struct text *text, double value)
{
    text_double(text, value);
}

static void put_6_decimals(struct text *text, double value)
{
    text_printf(text, "%.6f", value);
}

static void put_short(struct text *text, double value)
{
    text_printf(text, "%.1f", 100 * value);
}

static void put_integer(struct text *text, double value)
{
    text_printf(text, "%.0f", 10000 * value);
}

static void put_exponent(struct text *text, double value)
{
    text_printf(text, "%.8e", value);
}

static const struct kind {
    const char *what;
    void (*put)(struct text *text, double value);
    const char *separator;
    bool is_named;
} kinds[] = {
    {"as json.dumps() writes floats", put_shortest,   ", ", false},
    {"the same without blanks",       put_shortest,   ",",  false},
    {"6 decimals",                    put_6_decimals, ", ", false},
    {"short, as 12.5",                put_short,      ", ", false},
    {"integers",                      put_integer,    ", ", false},
    {"with exponents",                put_exponent,   ", ", false},
    {"by names, json.dumps()",        put_shortest,   ", ", true },
};
#define N_KINDS (sizeof(kinds) / sizeof(*kinds))

static void make_body(struct text *body, const struct kind *kind)
{
    struct random random;

    random_seed(&random, 1);
    text_puts(body, "{\"instances\": [");
    for (size_t i = 0; i < N_ROWS; i++) {
        text_puts(body, i ? kind->separator : "");
        text_puts(body, kind->is_named ? "{" : "[");
        for (size_t j = 0; j < N_FEATURES; j++) {
            text_puts(body, j ? kind->separator : "");
            if (kind->is_named)
                text_printf(body, "\"f%zu\": ", j);
            kind->put(body, random_normal(&random));
        }
        text_puts(body, kind->is_named ? "}" : "]");
    }
    text_puts(body, "]}");
}

static struct schema *make_schema(void)
{
    static char texts[N_FEATURES][8];
    const char *names[N_FEATURES];
    struct schema *schema = NULL;

    for (size_t j = 0; j < N_FEATURES; j++) {
        (void)snprintf(texts[j], sizeof(texts[j]), "f%zu", j);
        names[j] = texts[j];
    }
    if (schema_new(names, N_FEATURES, &schema, NULL) < 0)
        exit(1);
    return schema;
}

/* ---- what is measured: nanoseconds a number, or a verdict ---- */

static double read_rows(struct json_rows *rows, const struct schema *schema,
                        const struct text *body)
{
    const double begin = cpu_seconds();

    if (json_rows_read(rows, schema, NULL, body->data, body->length) < 0)
        exit(1);
    return 1e9 * (cpu_seconds() - begin) / N_VALUES;
}

static double read_jansson(const struct text *body)
{
    const double begin = cpu_seconds();
    json_auto_t *json = json_loadb(body->data, body->length, JSON_REJECT_DUPLICATES, NULL);

    if (!json)
        exit(1);
    return 1e9 * (cpu_seconds() - begin) / N_VALUES;
}

/* As verdicts have them: errors about 1, a threshold of 3, p-values down to 1e-4. */
static void make_verdicts(struct verdict verdicts[N_ROWS])
{
    struct random random;

    random_seed(&random, 2);
    for (size_t i = 0; i < N_ROWS; i++) {
        const double error = exp(0.5 * random_normal(&random));
        verdicts[i] = (struct verdict){
            .reconstruction_error = error,
            .score = error / 3.0,
            .p_value = exp(-9 * random_uniform(&random)),
            .anomaly = error > 3.0,
        };
    }
}

static double write_doubles(const struct verdict verdicts[N_ROWS], size_t *ret_length)
{
    char digits[NUMBER_MAX];
    size_t length = 0;
    const double begin = cpu_seconds();

    for (size_t i = 0; i < N_ROWS; i++) {
        length += number_write_double(digits, verdicts[i].reconstruction_error);
        length += number_write_double(digits, verdicts[i].score);
        length += number_write_double(digits, verdicts[i].p_value);
    }
    *ret_length = length;
    return 1e9 * (cpu_seconds() - begin) / (3 * N_ROWS);
}

static double write_floats(const struct verdict verdicts[N_ROWS], size_t *ret_length)
{
    char digits[NUMBER_MAX];
    size_t length = 0;
    const double begin = cpu_seconds();

    for (size_t i = 0; i < N_ROWS; i++) {
        length += number_write_float(digits, (float)verdicts[i].reconstruction_error);
        length += number_write_float(digits, (float)verdicts[i].score);
        length += number_write_float(digits, (float)verdicts[i].p_value);
    }
    *ret_length = length;
    return 1e9 * (cpu_seconds() - begin) / (3 * N_ROWS);
}

static double write_verdicts(const struct verdict verdicts[N_ROWS], size_t *ret_length)
{
    static const struct vocabulary vocabulary;
    CLEANUP(text_clear) struct text text = {0};

    text_reserve(&text, (size_t)128 * N_ROWS);
    const double begin = cpu_seconds();
    for (size_t i = 0; i < N_ROWS; i++) {
        text_puts(&text, i > 0 ? ",{" : "{");
        verdict_json_append(&text, &vocabulary, &verdicts[i], NULL, NULL, NULL, 0);
        text_puts(&text, "}");
    }
    *ret_length = text.length;
    return 1e9 * (cpu_seconds() - begin) / N_ROWS;
}

int main(void)
{
    static struct verdict verdicts[N_ROWS];
    static double ours[N_KINDS][N_ROUNDS], theirs[N_KINDS][N_ROUNDS], writing[3][N_ROUNDS];
    static struct text bodies[N_KINDS];
    CLEANUP(schema_freep) struct schema *schema = make_schema();
    CLEANUP(json_rows_clear) struct json_rows rows = {0};
    size_t lengths[3];

    make_verdicts(verdicts);
    for (size_t k = 0; k < N_KINDS; k++)
        make_body(&bodies[k], &kinds[k]);
    for (size_t round = 0; round < N_ROUNDS; round++) {
        for (size_t k = 0; k < N_KINDS; k++) {
            ours[k][round] = read_rows(&rows, schema, &bodies[k]);
            theirs[k][round] = read_jansson(&bodies[k]);
        }
        writing[0][round] = write_doubles(verdicts, &lengths[0]);
        writing[1][round] = write_floats(verdicts, &lengths[1]);
        writing[2][round] = write_verdicts(verdicts, &lengths[2]);
    }

    printf("%-32s %9s %9s %7s %7s\n", "CPU time, ns a number read", "json_rows", "jansson", "ratio",
           "bytes");
    for (size_t k = 0; k < N_KINDS; k++) {
        const double our = sort_median(ours[k], N_ROUNDS), their = sort_median(theirs[k], N_ROUNDS);
        printf("%-32s %9.1f %9.1f %7.1f %7.1f\n", kinds[k].what, our, their, their / our,
               (double)bodies[k].length / N_VALUES);
        text_clear(&bodies[k]);
    }
    printf("%-32s %9.1f %25.1f\n", "ns a double written", sort_median(writing[0], N_ROUNDS),
           (double)lengths[0] / (3 * N_ROWS));
    printf("%-32s %9.1f %25.1f\n", "ns a float written", sort_median(writing[1], N_ROUNDS),
           (double)lengths[1] / (3 * N_ROWS));
    printf("%-32s %9.1f %25.1f\n", "ns a verdict of a batch written",
           sort_median(writing[2], N_ROUNDS), (double)lengths[2] / N_ROWS);
    return 0;
}

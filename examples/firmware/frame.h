/* Writes Penstock frames (docs/frame-format.md, version 1). C99, no heap, no floating-point arithmetic, no library but memcpy.
 *
 *     uint8_t data[512];
 *     struct frame f;
 *     frame_begin(&f, data, sizeof data, manifest, epoch, sequence, 2 * rows, FRAME_CLOCK_SYNCHRONISED);
 *     frame_block(&f, rows, 2);
 *     frame_times(&f, 6, milliseconds, rows);
 *     frame_decimals(&f, 7, 2, centidegrees, rows);
 *     frame_bools(&f, 8, switched, rows);
 *     size_t bytes = frame_end(&f);                     0: it did not fit, or something was out of its limits
 *
 * A block has one frame_times and then as many columns as it was given; `count` is the sum of rows x columns.
 */
#ifndef PENSTOCK_FRAME_H
#define PENSTOCK_FRAME_H

#include <stddef.h>
#include <stdint.h>

enum { FRAME_CLOCK_UNKNOWN, FRAME_CLOCK_UNSYNCHRONISED, FRAME_CLOCK_SYNCHRONISED, FRAME_CLOCK_CORRECTED };
enum { FRAME_GOOD, FRAME_UNCERTAIN, FRAME_BAD };

struct frame {
    uint8_t *data;
    size_t size, at, tag;    /* room, bytes written, place of the last column's tag */
    int failed, unit;
    uint64_t left;           /* readings that are still to come */
    int64_t reference;       /* first tick of the block before */
};

void frame_begin(struct frame *f, uint8_t *data, size_t size, uint32_t manifest, uint64_t epoch, uint64_t sequence,
                 uint32_t count, int clock_quality);
void frame_block(struct frame *f, uint32_t rows, uint32_t columns);

/* Times in units of 10^unit nanoseconds since 1970; unit is 0, 3, 6 (milliseconds) or 9. */
void frame_times(struct frame *f, int unit, const int64_t *ticks, uint32_t rows);

/* float64 readings that are integers / 10^digits (0 to 15): 21.37 with two digits is 2137. */
void frame_decimals(struct frame *f, uint32_t series, int digits, const int64_t *scaled, uint32_t rows);
/* float64 readings of any kind, bit for bit. */
void frame_doubles(struct frame *f, uint32_t series, const double *values, uint32_t rows);
void frame_int64s(struct frame *f, uint32_t series, const int64_t *values, uint32_t rows);
void frame_bools(struct frame *f, uint32_t series, const uint8_t *values, uint32_t rows);

/* Qualities of the column just written, if one of them is not FRAME_GOOD. */
void frame_qualities(struct frame *f, const uint8_t *qualities, uint32_t rows);

size_t frame_end(struct frame *f);

#endif

#include "frame.h"

#include <string.h>

enum { LEVEL, DELTA, LINE = 3 };
enum { FIXED = 31, ESCAPE = 24, RICE_MAX = 29, QUALIFIED = 0x80 };
enum { DECIMAL = 0, PATTERN = 42, INT64 = 58, BOOL = 59 };

/* Numbers of a column, wherever they are. */
struct source {
    const void *values;
    int64_t (*get)(const void *values, uint32_t row);
    uint32_t rows;
};

static int64_t get_int64(const void *values, uint32_t row) { return ((const int64_t *)values)[row]; }

static int64_t get_byte(const void *values, uint32_t row) { return ((const uint8_t *)values)[row]; }

static int64_t get_pattern(const void *values, uint32_t row) {
    int64_t pattern;
    memcpy(&pattern, (const double *)values + row, sizeof pattern);
    return pattern;
}

static uint64_t zigzag(int64_t x) { return x < 0 ? ~((uint64_t)x << 1) : (uint64_t)x << 1; }

static void put(struct frame *f, uint8_t byte) {
    if (f->at < f->size) f->data[f->at++] = byte;
    else f->failed = 1;
}

static void put_fixed(struct frame *f, uint64_t x, int bytes) {
    for (; bytes; bytes--, x >>= 8) put(f, (uint8_t)x);
}

static void put_uvarint(struct frame *f, uint64_t x) {
    for (; x > 127; x >>= 7) put(f, (uint8_t)(x & 127) | 128);
    put(f, (uint8_t)x);
}

static void put_svarint(struct frame *f, int64_t x) { put_uvarint(f, zigzag(x)); }

/* Bits fill bytes from the lowest up. */
struct bits {
    struct frame *f;
    unsigned waiting, byte;
};

static void put_bits(struct bits *b, uint64_t x, int width) {
    while (width--) {
        b->byte |= (unsigned)(x & 1) << b->waiting;
        x >>= 1;
        if (++b->waiting == 8) {
            put(b->f, (uint8_t)b->byte);
            b->waiting = b->byte = 0;
        }
    }
}

static void put_rice(struct bits *b, uint64_t code, int k) {
    uint64_t quotient = code >> k;
    if (quotient >= ESCAPE) {
        put_bits(b, (uint64_t)1 << ESCAPE, ESCAPE + 1);
        put_bits(b, code, 64);
    } else {
        put_bits(b, (uint64_t)1 << quotient, (int)quotient + 1);
        put_bits(b, code, k);    /* the low k bits */
    }
}

struct prediction {
    int predictor;
    uint64_t level, slope;
    uint64_t cost, top;    /* sum of |r|, largest code */
};

/* Residual of row i. All arithmetic is modulo 2^64. */
static int64_t residual(const struct source *s, const struct prediction *p, uint32_t i) {
    uint64_t value = (uint64_t)s->get(s->values, i);
    if (p->predictor == DELTA) return (int64_t)(value - (uint64_t)s->get(s->values, i - 1) - p->slope);
    return (int64_t)(value - p->level - i * p->slope);
}

static uint32_t first_residual(const struct prediction *p) { return p->predictor == DELTA; }

static void judge(const struct source *s, struct prediction *p) {
    p->cost = p->top = 0;
    for (uint32_t i = first_residual(p); i < s->rows; i++) {
        uint64_t code = zigzag(residual(s, p, i));
        p->cost += (code + 1) >> 1;
        if (code > p->top) p->top = code;
    }
}

/* Level and slope that leave little; the values lie within 2^40, so that nothing here overflows. */
static void predict(const struct source *s, struct prediction *p, int predictor) {
    int64_t first = s->get(s->values, 0), last = s->get(s->values, s->rows - 1), sum = 0;
    p->predictor = predictor;
    p->level = (uint64_t)first;
    p->slope = predictor == LEVEL ? 0 : (uint64_t)((last - first) / (int64_t)(s->rows - 1));
    if (predictor != DELTA) {
        for (uint32_t i = 0; i < s->rows; i++) sum += residual(s, p, i);
        p->level += (uint64_t)(sum / (int64_t)s->rows);
    }
    judge(s, p);
}

static uint64_t rice_bits(const struct source *s, const struct prediction *p, int k) {
    uint64_t bits = 0;
    for (uint32_t i = first_residual(p); i < s->rows; i++) {
        uint64_t quotient = zigzag(residual(s, p, i)) >> k;
        bits += quotient < ESCAPE ? quotient + 1 + (uint64_t)k : ESCAPE + 1 + 64;
    }
    return bits;
}

static void put_column(struct frame *f, const struct source *s, uint64_t reference) {
    int64_t low = s->get(s->values, 0), high = low;
    for (uint32_t i = 1; i < s->rows; i++) {
        int64_t value = s->get(s->values, i);
        if (value < low) low = value;
        if (value > high) high = value;
    }
    struct prediction best = { LEVEL, 0, 0, 0, 0 };
    if ((uint64_t)high - (uint64_t)low < (uint64_t)1 << 40) {
        predict(s, &best, LEVEL);
        for (int predictor = DELTA; s->rows > 1 && predictor <= LINE; predictor += LINE - DELTA) {
            struct prediction other;
            predict(s, &other, predictor);
            if (other.cost < best.cost) best = other;
        }
    } else {
        judge(s, &best);    /* bit patterns and the like: as they are */
    }

    int coding = 0, k = 0, width = 0;
    if (best.top) {
        uint64_t mean = 2 * best.cost / (s->rows - first_residual(&best));
        while (k < RICE_MAX && mean >> (k + 1)) k++;
        while (width < 64 && best.top >> width) width++;
        uint64_t fixed = 8 + (uint64_t)(s->rows - first_residual(&best)) * (uint64_t)width;
        coding = rice_bits(s, &best, k) < fixed ? k + 1 : FIXED;
    }
    put(f, (uint8_t)(best.predictor | coding << 2));
    put_svarint(f, (int64_t)(best.level - reference));
    if (best.predictor != LEVEL) put_svarint(f, (int64_t)best.slope);
    if (!coding) return;
    if (coding == FIXED) put(f, (uint8_t)width);
    struct bits b = { f, 0, 0 };
    for (uint32_t i = first_residual(&best); i < s->rows; i++) {
        uint64_t code = zigzag(residual(s, &best, i));
        if (coding == FIXED) put_bits(&b, code, width);
        else put_rice(&b, code, k);
    }
    if (b.waiting) put(f, (uint8_t)b.byte);
}

void frame_begin(struct frame *f, uint8_t *data, size_t size, uint32_t manifest, uint64_t epoch, uint64_t sequence,
                 uint32_t count, int clock_quality) {
    memset(f, 0, sizeof *f);
    f->data = data;
    f->size = size < 1048576 ? size : 1048576;
    f->unit = -1;
    f->left = count;
    f->failed = count > 1048576 || epoch >> 63 || (sequence + count) >> 63 || clock_quality & ~3;
    put_fixed(f, 0x50fe, 2);
    put(f, 1);
    put(f, (uint8_t)clock_quality);
    put_fixed(f, manifest, 4);
    put_uvarint(f, epoch);
    put_uvarint(f, sequence);
    put_uvarint(f, count);
}

void frame_block(struct frame *f, uint32_t rows, uint32_t columns) {
    if (rows > 65536 || columns > 65536 || (rows && !columns) || (uint64_t)rows * columns > f->left) f->failed = 1;
    f->left -= (uint64_t)rows * columns;
    put_uvarint(f, rows);
    put_uvarint(f, columns);
}

void frame_times(struct frame *f, int unit, const int64_t *ticks, uint32_t rows) {
    struct source s = { ticks, get_int64, rows };
    if (!rows) return;
    put(f, (uint8_t)unit);
    put_column(f, &s, unit == f->unit ? (uint64_t)f->reference : 0);
    f->unit = unit;
    f->reference = ticks[0];
}

static void column(struct frame *f, uint32_t series, int tag, struct source s) {
    if (series > 65535) f->failed = 1;
    put_uvarint(f, series);
    f->tag = f->at;
    put(f, (uint8_t)tag);
    if (s.rows) put_column(f, &s, 0);
}

void frame_decimals(struct frame *f, uint32_t series, int digits, const int64_t *scaled, uint32_t rows) {
    struct source s = { scaled, get_int64, rows };
    if (digits < 0 || digits > 15) f->failed = 1;
    column(f, series, DECIMAL + digits, s);
}

void frame_doubles(struct frame *f, uint32_t series, const double *values, uint32_t rows) {
    struct source s = { values, get_pattern, rows };
    column(f, series, PATTERN, s);
}

void frame_int64s(struct frame *f, uint32_t series, const int64_t *values, uint32_t rows) {
    struct source s = { values, get_int64, rows };
    column(f, series, INT64, s);
}

void frame_bools(struct frame *f, uint32_t series, const uint8_t *values, uint32_t rows) {
    struct source s = { values, get_byte, rows };
    for (uint32_t i = 0; i < rows; i++)
        if (values[i] > 1) f->failed = 1;
    column(f, series, BOOL, s);
}

void frame_qualities(struct frame *f, const uint8_t *qualities, uint32_t rows) {
    struct source s = { qualities, get_byte, rows };
    for (uint32_t i = 0; i < rows; i++)
        if (qualities[i] > FRAME_BAD) f->failed = 1;
    if (!rows || f->failed) return;
    f->data[f->tag] |= QUALIFIED;
    put_column(f, &s, 0);
}

static uint32_t crc32(const uint8_t *data, size_t size) {
    uint32_t crc = 0xffffffff;
    while (size--) {
        crc ^= *data++;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

size_t frame_end(struct frame *f) {
    put_fixed(f, crc32(f->data, f->at), 4);
    return f->failed || f->left ? 0 : f->at;
}

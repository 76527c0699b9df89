/* The reader of section 9 of docs/frame-format.md on lines of "n hexadecimal": the bytes it used and the integers. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>

#include "section_9.h"

static char line[1 << 20];
static uint8_t data[1 << 19];
static int64_t out[65536];

int main(void) {
    uint32_t n;
    int used;
    while (fgets(line, sizeof line, stdin)) {
        size_t size = 0;
        unsigned byte;
        if (sscanf(line, "%" SCNu32 " %n", &n, &used) != 1) return 2;
        for (char *at = line + used; sscanf(at, "%2x", &byte) == 1; at += 2) data[size++] = (uint8_t)byte;
        const uint8_t *p = data;
        if (!integers(&p, data + size, out, n)) {
            printf("refused\n");
            continue;
        }
        printf("%td", p - data);
        for (uint32_t i = 0; i < n; i++) printf(" %" PRId64, out[i]);
        printf("\n");
    }
    return 0;
}

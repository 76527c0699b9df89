/* Frames as the test tells line by line, written by examples/firmware/frame.c and printed as hexadecimal. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"

enum { ROWS_MAX = 65536 };

static int64_t numbers[ROWS_MAX];
static double doubles[ROWS_MAX];
static uint8_t bytes[ROWS_MAX];
static uint8_t data[1 << 20];
static char line[1 << 21];

/* The numbers behind `text`; returns how many. Patterns are read as unsigned. */
static uint32_t read_numbers(char *text) {
    uint32_t rows = 0;
    for (char *word = strtok(text, " \n"); word; word = strtok(NULL, " \n"), rows++) {
        numbers[rows] = word[0] == '-' ? (int64_t)strtoll(word, NULL, 10) : (int64_t)strtoull(word, NULL, 10);
        memcpy(&doubles[rows], &numbers[rows], sizeof doubles[rows]);
        bytes[rows] = (uint8_t)numbers[rows];
    }
    return rows;
}

int main(void) {
    struct frame f;
    char verb[16];
    while (fgets(line, sizeof line, stdin)) {
        uint64_t a = 0, b = 0, c = 0, d = 0, e = 0;
        size_t size = 0;
        int used = 0;
        if (sscanf(line, "%15s%n", verb, &used) != 1) continue;
        char *rest = line + used;
        if (!strcmp(verb, "begin")) {
            sscanf(rest, "%" SCNu64 "%" SCNu64 "%" SCNu64 "%" SCNu64 "%" SCNu64 "%zu", &a, &b, &c, &d, &e, &size);
            frame_begin(&f, data, size, (uint32_t)a, b, c, (uint32_t)d, (int)e);
        } else if (!strcmp(verb, "block")) {
            sscanf(rest, "%" SCNu64 "%" SCNu64, &a, &b);
            frame_block(&f, (uint32_t)a, (uint32_t)b);
        } else if (!strcmp(verb, "end")) {
            size = frame_end(&f);
            for (size_t i = 0; i < size; i++) printf("%02x", data[i]);
            printf("%s\n", size ? "" : "failed");
        } else {
            uint32_t rows;
            sscanf(rest, "%" SCNu64 "%n", &a, &used);
            rows = read_numbers(rest + used);
            if (!strcmp(verb, "times")) frame_times(&f, (int)a, numbers, rows);
            else if (!strcmp(verb, "doubles")) frame_doubles(&f, (uint32_t)a, doubles, rows);
            else if (!strcmp(verb, "int64s")) frame_int64s(&f, (uint32_t)a, numbers, rows);
            else if (!strcmp(verb, "bools")) frame_bools(&f, (uint32_t)a, bytes, rows);
            else if (!strcmp(verb, "qualities")) frame_qualities(&f, bytes, rows);
            else if (!strncmp(verb, "decimals", 8)) frame_decimals(&f, (uint32_t)a, atoi(verb + 8), numbers, rows);
            else return 2;
        }
    }
    return 0;
}

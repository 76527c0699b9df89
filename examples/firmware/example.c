/* The frame of docs/frame-format.md, section 6, as hexadecimal: cc -o example example.c frame.c && ./example */
#include <stdio.h>

#include "frame.h"

int main(void) {
    const int64_t milliseconds[4] = { 1790000000000, 1790000001003, 1790000001998, 1790000003001 };
    const int64_t centidegrees[4] = { 2137, 2140, 2138, 2141 };
    const uint8_t switched[4] = { 0, 0, 0, 0 }, qualities[4] = { FRAME_GOOD, FRAME_GOOD, FRAME_BAD, FRAME_GOOD };
    uint8_t data[256];
    struct frame f;

    frame_begin(&f, data, sizeof data, 0x1234abcd, 1790000000, 100, 8, FRAME_CLOCK_SYNCHRONISED);
    frame_block(&f, 4, 2);
    frame_times(&f, 6, milliseconds, 4);
    frame_decimals(&f, 7, 2, centidegrees, 4);
    frame_bools(&f, 8, switched, 4);
    frame_qualities(&f, qualities, 4);
    size_t bytes = frame_end(&f);
    for (size_t i = 0; i < bytes; i++) printf("%02x", data[i]);
    printf("\n");
    return bytes == 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table that describes a struct of options: what config/ binds YAML to and what
 * an adapter declares about itself. Tables end with key == NULL.
 */
#ifndef BASE_OPTION_H
#define BASE_OPTION_H

#include <stddef.h>
#include <stdint.h>

/*
 * A TABLE with choices may be replaced by one of these words: the nested struct then begins with
 * an int, 1 + the word's index (0: the map was given). The word "off" may be written false.
 */
enum option_kind {
	OPTION_BOOL,	    /* bool */
	OPTION_INT,	    /* int64_t */
	OPTION_SIZE,	    /* int64_t bytes: 512, 64KiB, 4MiB, 1GiB, 10kB */
	OPTION_DURATION,    /* int64_t milliseconds: 250ms, 5s, 2m, 1h, 7d */
	OPTION_NUMBER,	    /* double */
	OPTION_STRING,	    /* char *, NULL when absent and without default */
	OPTION_SECRET,	    /* char *, may be ${ENV} or !file PATH, never printed */
	OPTION_ENUM,	    /* int, index into choices */
	OPTION_STRINGS,	    /* struct option_strings: a list of strings, or one string */
	OPTION_MODE,	    /* int64_t, octal file mode: "0660" */
	OPTION_TABLE,	    /* a nested struct at offset, described by table */
	OPTION_UNSUPPORTED, /* known, refused as "not supported by this version" */
};

struct option_strings {
	char **v;
	size_t n;
};

struct option {
	const char *key;
	enum option_kind kind;
	size_t offset;
	const char
		*def; /* the default as one would write it in YAML; NULL: none (0, NULL, empty) */
	int64_t min,
		max; /* INT, SIZE, DURATION in the stored unit; NUMBER as is; both 0: unchecked */
	const char *const *choices; /* ENUM, NULL-terminated */
	const struct option *table; /* TABLE */
	const char *doc;	    /* one line for the annotated example */
};

/* Frees every string the table describes in *target. */
void option_free(const struct option *table, void *target);

#endif

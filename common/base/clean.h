/*
 * Text that is not ours: what servers, libraries and name services say, names that others gave. It is cleaned before a terminal,
 * a log line, JSON or HTML gets it.
 *
 * The secrets of this process are remembered when its settings are read; whatever text quotes one of them shows *** in its place.
 * That covers libpq's, hiredis', curl's and the resolver's messages, which quote what they were given.
 */
#pragma once

#include "common/base/base.h"

/* Marks in hidden (zeroed, as long as the value) the bytes of a setting's value that are secret: passwords in URLs, after
 * password=, secret= and the like, all behind the host of an http(s) URL, ports that are none. Where a value is malformed, rather
 * too much. */
void clean_hide(const char *value, char *hidden);

/* Remembers the secrets of a setting's value, for the process' life. Secrets shorter than 3 bytes are not looked for. */
void clean_remember(const char *value);

/* In place, never longer: control characters, marks that turn the direction of writing, and bytes that are not UTF-8 become ?.
 * For names and data: a word in them that is also a password means nothing. */
void clean_text(char *text);
/* For what servers and libraries say: remembered secrets become ***, too. Nothing is decided by a text that was cleaned like
 * that. */
void clean_reason(char *text);
/* clean_text into a buffer. Returns out. text NULL: "". */
const char *clean_copy(const char *text, char *out, size_t size);

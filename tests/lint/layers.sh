#!/bin/bash
# The rules of common/main.h and of the code base, as greps. One line a violation: place, rule and why, the text. Exit 1 when there is one.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."

programs=(ingest cascade analytics)
ours=("${programs[@]}" common migrations)
floors=(base io stream stage view cli) # of common, from the bottom: a file includes what is on its own floor or below

command -v perl >/dev/null || { echo "layers.sh: this needs perl" >&2; exit 1; }
mapfile -t code < <(find "${ours[@]}" -name '*.[ch]' | LC_ALL=C sort)
mapfile -t all_code < <(find "${ours[@]}" tests -name '*.[ch]' | LC_ALL=C sort)
violations=0

# report RULE: one violation for each line of stdin, FILE:LINE:TEXT or a mere FILE
report() {
        local file line text
        while IFS=: read -r file line text; do
                read -r text <<<"$text" # without the blanks around it
                printf '%s%s: %s%s\n' "$file" "${line:+:$line}" "$1" "${text:+ | $text}"
                violations=$((violations + 1))
        done
}

# text_of bare|strings FILE…: FILE:LINE:TEXT without comments of the form /* */; bare: what stands inside quotes is left out as well
text_of() {
        perl -0777 -e '
                my $bare = shift(@ARGV) eq "bare";
                for my $file (@ARGV) {
                        open(my $in, "<", $file) or die "$file: $!\n";
                        my $text = <$in>;
                        $text =~ s{("(?:\\.|[^"\\\n])*")|(\x27(?:\\.|[^\x27\\\n])*\x27)|(/\*.*?\*/)|(//[^\n]*)}{
                                defined $3 ? " " . "\n" x ($3 =~ tr/\n//) : defined $4 ? $4 :
                                !$bare ? $& : defined $1 ? "\"\"" : "\x27\x27"}gse;
                        my $number = 0;
                        print map { $number++; "$file:$number:$_\n" } split(/\n/, $text, -1);
                }' "$@"
}

# includes PATTERN FILE…: the #include lines whose name matches
includes() {
        local pattern=$1
        shift
        grep -nHE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($pattern)[>\"]" "$@" || true
}

except() { grep -v "^$1:" || true; }

report "libpq-fe.h only in common/io/db.c and db_connect.c: PostgreSQL has one seam, foreign types cross no header" < <(
        includes '(.*/)?libpq-fe\.h' "${code[@]}" | except common/io/db.c | except common/io/db_connect.c)
report "hiredis headers only in common/io/redis.c and redis_tls.c: Redis has one seam, foreign types cross no header" < <(
        includes '(.*/)?hiredis[^>"]*' "${code[@]}" | except common/io/redis.c | except common/io/redis_tls.c)
report "openssl headers only in common/io/redis_tls.c: TLS has one seam, foreign types cross no header" < <(
        includes '(.*/)?openssl/.*' "${code[@]}" | except common/io/redis_tls.c)
report "microhttpd.h only in common/io/http.c: HTTP has one seam, foreign types cross no header" < <(
        includes '(.*/)?microhttpd\.h' "${code[@]}" | except common/io/http.c)

report "curl/curl.h only in ingest/chain/rpc.c: the node has one seam, foreign types cross no header" < <(
        includes 'curl/.*' "${code[@]}" | except ingest/chain/rpc.c)

# The blank behind the word tells SQL from Redis commands of the same name ("SELECT", "CREATE").
report "no SQL in C: a statement is a .sql file, to be read, run in psql and checked on its own" < <(
        text_of strings "${code[@]}" | grep -E '"([[:space:]]|\\n)*(SELECT|INSERT|UPDATE|DELETE|CREATE|WITH|ALTER|DROP|TRUNCATE|LOCK|COPY)([[:space:]]|\\n)' || true)
report "transactions begin and end in common/io/db.c only: every one gets its deadline there" < <(
        text_of strings "${code[@]}" | except common/io/db.c | grep -E '"([[:space:]]|\\n)*(BEGIN|COMMIT|ROLLBACK|SET LOCAL)([[:space:];"]|\\n)' || true)

for program in "${programs[@]}"; do
        for other in "${programs[@]}"; do
                if [ "$program" = "$other" ]; then continue; fi
                report "programs do not include each other: what two share is a stream or a table" < <(
                        includes "(.*/)?$other/[^>\"]*|${other}_sql\.h" $(find "$program" -name '*.[ch]'))
        done
        report "common and migrations know no program: a dependency points downwards only" < <(
                includes "(.*/)?$program/[^>\"]*|${program}_sql\.h" $(find common migrations -name '*.[ch]'))
done

report "ingest/decode is pure: events from text, without servers; it is fuzzed" < <(
        includes '(.*/)?(common/(io|stream|stage|view|cli)/|ingest/(store|chain)/|ingest/ingest|ingest_sql)[^>"]*' $(find ingest/decode -name '*.[ch]'))
above=()
for ((i = ${#floors[@]} - 1; i >= 0; i--)); do
        floor=${floors[i]}
        mapfile -t on_floor < <(find "common/$floor" -name '*.[ch]' | LC_ALL=C sort)
        if [ ${#above[@]} -gt 0 ]; then
                report "common/$floor includes no floor above it" < <(
                        includes "(.*/)?common/($(IFS='|'; echo "${above[*]}"))/[^>\"]*|(.*/)?common/main\.h" "${on_floor[@]}")
        fi
        report "files of common are included by their whole path: the floor shows" < <(
                includes '[^/>"]*' "${on_floor[@]}" | grep -F '"' | grep -vE '"(lua|page|common_sql)\.h"' || true)
        above+=("$floor")
done
report "every file of common is on a floor, but for main.c, which wires them" < <(
        find common -name '*.[ch]' | grep -vE "^common/($(IFS='|'; echo "${floors[*]}"))/|^common/main\.[ch]$" || true)
report "no circle among files: each can be read, and tested, with what is below it" < <(
        for file in "${code[@]}"; do
                sed -nE 's|^#include "(.*)\.h"|\1|p' "$file" | while read -r name; do
                        if [ ! -e "$name.h" ]; then name=$(dirname "$file")/$name; fi
                        if [ -e "$name.h" ] && [ "$name" != "${file%.*}" ]; then echo "${file%.*} $name"; fi
                done
        done | tsort 2>&1 >/dev/null | sed -nE 's|^tsort: ([a-z].*/.*)|\1|p')
report "common knows no schema: programs hand it in (struct program_database)" < <(
        includes '(.*/)?migrations/[^>"]*|migrations[^>"/]*\.h' $(find common -name '*.[ch]'))
mapfile -t tables < <(grep -hoE '^CREATE TABLE [a-z_]+' migrations/*.sql | awk '{print $3}' | grep -vxE 'position|term|atom|triple|vault|reorgs' | LC_ALL=C sort -u)
report "common names no table of the pipeline" < <(
        { text_of strings $(find common -name '*.[ch]') | grep -E '"[^"]*"'; grep -nHE '.' common/sql/*.sql | grep -v ':--'; } |
                grep -wE "$(IFS='|'; echo "${tables[*]}")" || true)
report "common names no program of the pipeline, but where a setting's help says what differs" < <(
        text_of strings $(find common -name '*.[ch]' ! -path common/stage/config.c ! -path common/stage/stage.c) |
                grep -wE '"[^"]*\b(ingest|cascade|analytics)\b[^"]*"' || true)

report "no file named util, misc or helpers: a file's name says what is in it" < <(
        find "${ours[@]}" deploy tests -name __pycache__ -prune -o -type f -print | LC_ALL=C sort |
                grep -iE '(^|[/_.-])(utils?|misc|helpers?)([_.-][^/]*)?$' || true)

report "no file above 600 lines" < <(
        wc -l "${code[@]}" | awk '$2 != "total" && $1 > 600 { print $2 ":" $1 ":lines" }')
report "comments are /* */: one kind, as in all other files" < <(
        text_of bare "${all_code[@]}" | grep -E '^[^:]*:[0-9]+:.*//' || true)
report "banned: it does not know how much room there is, what went wrong, or other threads (snprintf, memcpy, strtoll, strsep do)" < <(
        text_of bare "${all_code[@]}" | grep -E '^[^:]*:[0-9]+:(.*[^A-Za-z0-9_])?(strcpy|strcat|sprintf|gets|atoi|strtok)[[:space:]]*\(' || true)

if [ $violations -gt 0 ]; then
        echo "layers.sh: $violations violations" >&2
        exit 1
fi
echo "layers.sh: the rules hold in ${#all_code[@]} files"

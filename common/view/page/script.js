// Shows /status of the program that served the page, anew every two seconds. Text goes into the page as text only.
"use strict";

const EVERY_MS = 2000, PATIENCE_MS = 5000;
const STAGES = ["ingest", "cascade", "analytics"];
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const place = id => document.getElementById(id);

function make(tag, text, name) {
        const element = document.createElement(tag);
        if (text !== undefined) element.textContent = text;
        if (name) element.className = name;
        return element;
}

// Only what has changed is made anew: focus and selection stay where they are.
function put(where, ...children) {
        const fresh = make("div");
        fresh.append(...children);
        if (fresh.innerHTML !== where.innerHTML) where.replaceChildren(...fresh.childNodes);
}

function duration(seconds) {
        if (seconds < 1) return Math.round(seconds * 1000) + " ms";
        if (seconds < 120) return number.format(seconds) + " s";
        if (seconds < 7200) return Math.round(seconds / 60) + " min";
        return seconds < 172800 ? Math.round(seconds / 3600) + " h" : Math.round(seconds / 86400) + " days";
}

const known = (value, show = number.format) => value === null || value === undefined ? "not known yet" : show(value);
const time = text => new Date(text).toLocaleString();

function fact(list, name, value, judgement) {
        const pair = make("div");
        pair.append(make("dt", name), make("dd", value, judgement));
        list.append(pair);
}

function chart(title, values, interval) {
        const figure = make("figure"), shown = values.map(value => value === null ? 0 : value);
        const highest = Math.max(1, ...shown), last = shown.length ? shown[shown.length - 1] : 0;
        const minutes = Math.max(1, Math.round(shown.length * interval / 60));
        const words = shown.length ? `${title}: last ${number.format(last)}, at most ${number.format(Math.max(...shown))} in ${minutes} min`
                : `${title}: nothing recorded yet`;
        const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
        const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
        svg.setAttribute("viewBox", "0 0 89 20");
        svg.setAttribute("preserveAspectRatio", "none");
        svg.setAttribute("aria-hidden", "true");   // the caption says it
        line.setAttribute("points", shown.map((value, i) => `${90 - shown.length + i},${19 - 18 * value / highest}`).join(" "));
        svg.append(line);
        figure.append(svg, make("figcaption", words));
        return figure;
}

function table(where, caption, heads, rows, nothing) {
        if (!rows || !rows.length) {
                put(where, make("p", rows ? nothing : "Not known yet.", "quiet"));
                return;
        }
        const box = make("div", undefined, "scroll"), made = make("table"), head = make("tr"), body = make("tbody"), top = make("thead");
        box.tabIndex = 0;
        box.setAttribute("role", "region");
        box.setAttribute("aria-label", caption);
        heads.forEach(text => { const cell = make("th", text); cell.scope = "col"; head.append(cell); });
        rows.forEach(row => { const line = make("tr"); row.forEach(text => line.append(make("td", text))); body.append(line); });
        top.append(head);
        made.append(make("caption", caption), top, body);
        box.append(made);
        put(where, box);
}

function stageOf(status, stream) {
        const streams = status.database ? status.database.streams : {};
        return streams[stream.stream] || (status.streams[0] === stream ? status.program : null);
}

function showStage(status, name) {
        const card = make("article", undefined, "card"), streams = status.streams.filter(stream => stageOf(status, stream) === name);
        const program = status.database && status.database.programs[name], units = name === "ingest" ? "events" : "keys";
        card.append(make("h3", name));
        if (program) {
                const facts = make("div", undefined, "numbers"), well = program.replicas && program.ready === program.replicas;
                facts.append(make("span", `${program.replicas} ${program.replicas === 1 ? "replica" : "replicas"}, ${program.ready} ready`, well ? undefined : "bad"));
                if (program.replicas) facts.append(make("span", `circuit breaker ${program.breaker}`, program.breaker === "Closed" ? undefined : "bad"));
                facts.append(make("span", `${number.format(program.events_per_second)} ${units}/s`));
                if (program.delay_p50 !== null)
                        facts.append(make("span", `half of the last batches committed within ${duration(program.delay_p50)} of their oldest entry, ` +
                                `99 % within ${duration(program.delay_p99)}`));
                card.append(facts, make("p", `Since they started: ${number.format(program.processed)} ${units} done, ${number.format(program.failed)} failed, ` +
                        `${number.format(program.retries)} batches tried again, ${number.format(program.backfilled)} keys backfilled`, "quiet"));
        } else {
                card.append(make("p", "replicas not known yet", "quiet"));
        }
        const rows = status.database && status.database.outbox_rows[name];
        if (rows) card.append(make("p", `${number.format(rows)} ${rows === 1 ? "row waits" : "rows wait"} in the outbox, ` +
                `oldest ${duration(status.database.outbox[name])}, done in ${known(status.outbox_seconds_left[name], duration)}`));
        for (const stream of streams) {
                const part = make("div", undefined, "stream"), numbers = make("div", undefined, "numbers"), charts = make("div", undefined, "charts");
                const before = stream.lag_history[Math.max(0, stream.lag_history.length - 7)];   // a minute ago
                const trend = before === undefined || before === stream.lag ? "" : stream.lag > before ? ", growing" : ", shrinking";
                part.append(make("strong", stream.stream));
                if (status.streams_old) numbers.append(make("span", `old figures, of ${duration(status.seen_ms_ago / 1000)} ago:`, "bad"));
                for (const text of [`lag ${stream.lag_known ? "" : "at least "}${number.format(stream.lag)}${trend}`,
                        `pending ${number.format(stream.pending)}`,
                        `${known(stream.entries_per_second)} entries/s`, `length ${number.format(stream.length)}`,
                        ...status.streams_old ? [] : stream.lag + stream.pending === 0 ? ["nothing waits"]
                                : [`oldest ${duration(stream.oldest_ms / 1000)}`, `done in ${known(stream.seconds_left, duration)}`]])
                        numbers.append(make("span", text));
                charts.append(chart("entries/s", stream.rate_history, status.history_interval_s),
                        chart("lag", stream.lag_history, status.history_interval_s));
                part.append(numbers, charts);
                card.append(part);
        }
        if (!streams.length) card.append(make("p", "no stream known yet", "quiet"));
        return card;
}

function showGlance(status) {
        const list = make("dl"), database = status.database;
        const delay = STAGES.reduce((sum, name) => sum + Math.max(0, ...status.streams.filter(s => stageOf(status, s) === name).map(s => s.oldest_ms)), 0);
        fact(list, "End to end, oldest entry under way", delay ? duration(delay / 1000) : "nothing under way");
        for (const [name, server] of Object.entries(status.servers))
                fact(list, name === "redis" ? "Redis" : "PostgreSQL", `${server.up ? "up" : "away"} since ${time(server.since)}`, server.up ? "good" : "bad");
        fact(list, "Dead letters", number.format(status.dead_letters), status.dead_letters ? "bad" : "good");
        for (const stage of ["cascade", "analytics"])
                fact(list, `Outbox of ${stage}, oldest row`, known(database ? database.outbox[stage] : null, duration));
        if (database && database.replay_unfinished) fact(list, "Replay", "under way: the tables do not hold all yet", "bad");
        put(place("glance"), ...list.children);
}

function say(words, judgement) {
        const state = place("state");
        if (state.textContent !== words) state.textContent = words;   // said aloud only when it changes
        state.className = `state ${judgement}`;
}

function show(status) {
        const database = status.database;
        const words = status.problems.join("; ") || (status.dead_letters ? "Working; there are dead letters" : "Working");
        say(words, status.problems.length ? "bad" : "good");
        document.title = `${words} – ${status.program}`;
        place("seen").textContent = `${status.program} ${status.version}, group ${status.group}; ` +
                (status.seen_ms_ago < 0 ? "streams not seen yet" : `streams as of ${duration(status.seen_ms_ago / 1000)} ago`);
        showGlance(status);
        put(place("stages"), ...STAGES.map(name => showStage(status, name)));
        table(place("letters"), "The newest; for all: dlq list", ["Stage", "Stream and id", "Class", "Error"],
                status.letters && status.letters.map(l => [l.stage, `${l.stream} ${l.id}`, l.error_class, l.error]), "None.");
        table(place("reorgs"), "Newest first", ["Handled", "Stream", "Fork block", "Depth"],
                database && database.reorgs.map(r => [time(r.at), r.stream, String(r.fork_block), String(r.depth)]), "None.");
        table(place("verify"), "The last of each program", ["Program", "When", "Differences", "Left out, in flight", "Keys"],
                database && database.verify.map(v => [v.program, time(v.finished_at), number.format(v.differences), number.format(v.in_flight),
                        v.sample === null ? "all" : `about ${number.format(v.sample)} a table`]), "Never run: ingest verify, cascade verify, analytics verify.");
        const tables = make("dl");
        Object.entries(database ? database.tables : {}).forEach(([name, rows]) => fact(tables, name, number.format(rows)));
        put(place("tables"), ...tables.children);
}

let seen = "";   // when /status answered last

async function look() {
        try {
                const answer = await fetch("status", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
                if (!answer.ok) throw new Error(`it answers ${answer.status}`);
                show(await answer.json());
                seen = new Date().toLocaleTimeString();
                document.body.className = "";
        } catch (problem) {
                say(`No status from this program: ${problem.message}${seen && `; last seen at ${seen}`}`, "bad");
                document.body.className = "stale";
        }
        setTimeout(look, EVERY_MS);
}

look();

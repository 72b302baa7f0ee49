// Shows /status of the program that served the page, anew every two seconds. Text goes into the page as text only.
"use strict";

const EVERY_MS = 2000, PATIENCE_MS = 5000;
const STATES = { "working": ["Working", "#10693a", "✓"], "degraded": ["Working, but", "#8a5200", "!"], "not working": ["Not working", "#b3261e", "✗"] };
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const place = id => document.getElementById(id);
const known = (value, show = number.format) => value === null || value === undefined ? "–" : show(value);

function make(tag, attributes, ...children) {
        const element = document.createElement(tag);
        for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
        element.append(...children);
        return element;
}

// Changes what differs and nothing else: focus, selection and scrolling stay where they are.
function patch(old, fresh) {
        if (old.nodeType === Node.TEXT_NODE) {
                if (old.data !== fresh.data) old.data = fresh.data;
                return;
        }
        for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
        for (const { name, value } of [...fresh.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
        patchChildren(old, [...fresh.childNodes]);
}

function patchChildren(where, fresh) {
        while (where.childNodes.length > fresh.length) where.lastChild.remove();
        fresh.forEach((child, i) => {
                const old = where.childNodes[i];
                if (!old) where.append(child);
                else if (old.nodeName !== child.nodeName) old.replaceWith(child);
                else patch(old, child);
        });
}

const put = (id, ...children) => patchChildren(place(id), children);

function duration(seconds) {
        if (seconds > 0 && seconds < 1) return Math.round(seconds * 1000) + " ms";
        if (seconds < 120) return Math.round(seconds) + " s";
        if (seconds < 7200) return Math.round(seconds / 60) + " min";
        return seconds < 172800 ? Math.round(seconds / 3600) + " h" : Math.round(seconds / 86400) + " days";
}

const timeLeft = seconds => seconds === null ? "time left not known" : `${duration(seconds)} left`;

// Relative to the program's clock; exact where the pointer rests.
function ago(status, text) {
        const seconds = Math.max(0, (Date.parse(status.time) - Date.parse(text)) / 1000);
        return make("time", { datetime: text, title: new Date(text).toLocaleString() }, `${duration(seconds)} ago`);
}

// Names of streams differ at their ends: what has no room is left out in the middle.
function middle(name) {
        const cut = Math.max(0, name.length - 16);
        return make("span", { class: "middle", title: name }, make("span", {}, name.slice(0, cut)), make("span", {}, name.slice(cut)));
}

function runbook(status, name) {
        if (!name) return "";
        return status.runbooks ? make("a", { href: `${status.runbooks}#${name.toLowerCase()}` }, `Runbook ${name}`) : `Runbook ${name}`;
}

function showBanner(status) {
        const [words, colour, mark] = STATES[status.state];
        say(status.state, words);
        put("problems", ...status.problems.map(p => make("li", {}, `${p.text}. `, runbook(status, p.runbook))), ...status.notes.map(note => make("li", {}, note)));
        put("seen", `${status.program} ${status.version}, group ${status.group}`);
        document.title = `${mark} ${status.problems.length ? status.problems.map(p => p.text).join("; ") : words} – ${status.program}`;
        icon(colour);
}

function icon(colour) {
        const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="${colour}"/></svg>`;
        place("icon").href = `data:image/svg+xml,${encodeURIComponent(svg)}`;
}

function say(state, words) {
        place("banner").dataset.state = state;
        if (place("state").textContent !== words) place("state").textContent = words;   // said aloud only when it changes
}

function figure(name, value, more, kind) {
        return make("div", { class: kind || "" }, make("dt", {}, name), make("dd", {}, value), make("dd", {}, more));
}

function showFigures(status) {
        const database = status.database || {}, block = database.last_block, waiting = status.waiting, dead = status.dead_letters.count;
        const stored = status.stages.find(stage => stage.events_per_second !== undefined);
        const sum = name => status.stages.length && status.stages.every(stage => typeof stage[name] === "number")
                ? status.stages.reduce((total, stage) => total + stage[name], 0) : null;
        const half = sum("delay_p50"), old = status.database_old ? "old" : "";
        const since = (status.database_seen_ms_ago || 0) / 1000, head = database.head_block;
        put("figures",
                figure("Last stored block", known(block && block.number), block ? make("span", { title: new Date(block.time).toLocaleString() },
                        `${duration(block.age_s + since)} old${typeof head === "number" ? `, chain's head ${number.format(head)}` : ""}`) : "no event yet", old),
                figure("Events a second", known(stored && stored.events_per_second), "stored, in the last 10 s", old),
                figure("Delay to the last table", known(half, s => `about ${duration(s)}`),
                        half === null ? "not known for each stage" : `99 % within ${duration(sum("delay_p99"))}, last minutes`),
                figure("Waiting", number.format(waiting.entries + waiting.rows), !waiting.entries && !waiting.rows ? "nothing waits"
                        : `${number.format(waiting.entries)} entries, ${number.format(waiting.rows)} rows; ${timeLeft(waiting.seconds_left)}`, status.streams_old ? "old" : ""),
                figure("Dead letters", number.format(dead), dead ? "see below" : "every message could be stored", status.streams_old ? "old" : ""));
}

function stageCard(status, stage) {
        const units = stage.name === "ingest" ? "events" : "keys", card = make("li");
        const well = stage.replicas && stage.ready === stage.replicas && stage.breaker === "Closed";
        card.append(make("div", { class: "line" }, make("h3", {}, stage.name), make("span", well ? {} : { class: "bad" },
                stage.replicas === undefined ? "replicas not known" : stage.replicas ? `${stage.ready} of ${stage.replicas} ready` : "no replica runs")));
        if (stage.replicas) {
                if (stage.breaker !== "Closed") card.append(make("p", { class: "bad" }, `circuit breaker ${stage.breaker}`));
                card.append(make("div", { class: "line", title: `Since the start: ${number.format(stage.processed)} ${units}, ${number.format(stage.failed)} failed, ` +
                        `${number.format(stage.retries)} batches tried again, ${number.format(stage.backfilled)} keys backfilled` },
                make("span", {}, `${number.format(stage.events_per_second)} ${units}/s`),
                make("span", { class: "quiet" }, typeof stage.delay_p50 === "number"
                        ? `delay ${duration(stage.delay_p50)}, 99 % ${duration(stage.delay_p99)}` : "delay not known")));
        }
        if (typeof stage.progress === "number")
                card.append(make("progress", { max: 1, value: stage.progress.toFixed(3), "aria-label": `${stage.name}, backlog done` }));
        card.append(make("p", { class: "quiet" }, !stage.waiting ? "nothing waits"
                : `${stage.waiting >= 100000 && stage.unit === "rows" ? "at least " : ""}${number.format(stage.waiting)} ${stage.unit} wait, ` +
                        `${stage.done_per_second === null ? "" : `${number.format(stage.done_per_second)}/s, `}${timeLeft(stage.seconds_left)}`));
        return card;
}

function chart(values, interval) {
        const shown = values.map(value => value === null ? 0 : value), highest = Math.max(1, ...shown);
        const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
        const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
        svg.setAttribute("viewBox", "0 0 89 20");
        svg.setAttribute("preserveAspectRatio", "none");
        svg.setAttribute("aria-hidden", "true");   // the caption says it
        line.setAttribute("points", shown.map((value, i) => `${90 - shown.length + i},${19 - 18 * value / highest}`).join(" "));
        svg.append(line);
        return make("figure", {}, svg, make("figcaption", {}, shown.length
                ? `max ${number.format(Math.max(...shown))}/s in ${duration(shown.length * interval)}` : "nothing recorded yet"));
}

const cell = (text, name) => make("td", { class: "number", "data-name": name }, text);

function streamRow(status, stream) {
        const left = stream.lag + stream.pending ? known(stream.seconds_left, duration) : "–";
        return make("tr", {}, make("td", {}, stream.stage || "–"), make("th", { scope: "row" }, middle(stream.stream)),
                cell(`${stream.lag_known ? "" : "at least "}${number.format(stream.lag)}`, "lag"), cell(number.format(stream.pending), "pending"),
                cell(known(stream.entries_per_second, rate => `${number.format(rate)}/s`), "rate"),
                cell(stream.oldest_ms > 0 ? duration(stream.oldest_ms / 1000) : "–", "oldest"), cell(left, "left"),
                make("td", {}, chart(stream.rate_history, status.history_interval_s)));
}

function table(caption, heads, rows, name) {
        return make("table", { class: name || "" }, make("caption", { class: "unseen" }, caption),
                make("colgroup", {}, ...heads.map(() => make("col"))),
                make("thead", {}, make("tr", {}, ...heads.map(([text, kind]) => make("th", { scope: "col", class: kind || "" }, text)))),
                make("tbody", {}, ...rows));
}

function showStreams(status) {
        const heads = [["Stage"], ["Stream"], ["Lag", "number"], ["Pending", "number"], ["Rate", "number"], ["Oldest", "number"], ["Left", "number"], ["Rate, last 15 min"]];
        put("streams", ...status.streams_old ? [make("p", { class: "bad" }, `Old figures, of ${duration(status.seen_ms_ago / 1000)} ago`)] : [],
                make("div", { class: status.streams_old ? "card old" : "card" }, status.streams.length
                        ? table("Streams, in the direction of the flow", heads, status.streams.map(stream => streamRow(status, stream)), "streams")
                        : make("p", { class: "quiet" }, "No stream is known yet: they show once Redis has answered.")));
}

async function copy(event) {
        const button = event.target.closest("button[data-copy]");
        if (!button) return;
        await navigator.clipboard.writeText(button.dataset.copy);
        button.textContent = "Copied";
}

// Without https the browser gives no clipboard, but for this machine: then the command can be selected.
function command(text) {
        const shown = make("code", {}, text);
        return navigator.clipboard ? make("span", {}, shown, " ", make("button", { type: "button", "data-copy": text, "aria-label": `Copy ${text}` }, "Copy")) : shown;
}

function showDead(status) {
        const groups = status.dead_letters.groups, looked = (groups || []).reduce((sum, group) => sum + group.count, 0);
        const text = !groups ? "Not known yet." : "No dead letters: every message could be stored. One that never can be would stand here with its reason.";
        put("dead", make("div", { class: status.streams_old ? "card old" : "card" }, ...groups && groups.length ? groups.map(group => make("div", { class: "letter" },
                make("div", {}, make("strong", {}, `${number.format(group.count)} of class ${group.error_class}`), ` in ${group.stage}; the newest is of ${group.stream} ${group.id}`),
                make("p", {}, group.error), command(`${group.stage} dlq show ${group.letter}`)))
                : [make("p", { class: "quiet" }, text)],
        ...looked && looked < status.dead_letters.count ? [make("p", { class: "quiet" }, `Of the ${looked} newest; for all: dlq list`)] : []));
}

function showDatabase(status) {
        const database = status.database, card = children => make("div", { class: status.database_old ? "card old" : "card" }, ...children);
        const old = status.database_old ? [make("p", { class: "bad" }, `Old, of ${duration(status.database_seen_ms_ago / 1000)} ago`)] : [];
        const quiet = text => make("p", { class: "quiet" }, text);
        if (!database) {
                for (const id of ["reorgs", "verify", "tables"]) put(id, card([quiet("Not known yet: PostgreSQL has not been asked.")]));
                return;
        }
        const running = database.reorgs_running.map(r => make("p", {}, make("strong", {}, "Under way: "),
                `from block ${number.format(r.fork_block)} on, it moves up to ${number.format(r.events)} events`));
        put("reorgs", card([...old, ...running, database.reorgs.length ? table("The last reorgs", [["When"], ["Stream"], ["Fork block", "number"], ["Depth", "number"]],
                database.reorgs.map(r => make("tr", {}, make("td", {}, ago(status, r.at)), make("td", {}, middle(r.stream)), cell(String(r.fork_block), "fork block"), cell(String(r.depth), "depth"))), "reorgs")
                : running.length ? "" : quiet("None yet. When the chain drops blocks, their events leave the tables; each such notice stands here.")]));
        put("verify", card([...old, database.verify.length ? table("The last verify of each program", [["Program"], ["When"], ["Differences", "number"], ["In flight", "number"], ["Keys", "number"]],
                database.verify.map(v => make("tr", {}, make("td", {}, v.program), make("td", {}, ago(status, v.finished_at)),
                        make("td", { class: v.differences ? "number bad" : "number" }, number.format(v.differences)), cell(number.format(v.in_flight), "in flight"),
                        cell(v.sample === null ? "all" : `about ${number.format(v.sample)}`, "keys"))), "verify")
                : make("p", { class: "quiet" }, "Never run. It recomputes the tables and shows each difference: ", command("ingest verify"))]));
        put("tables", card([...old, make("div", { class: "levels" }, ...database.levels.map(([level, names]) => make("div", {}, make("h3", {}, level),
                ...names.map(name => make("div", { class: "line" }, make("span", {}, name), make("span", {}, known(database.tables[name])))))))]));
}

function show(status) {
        showBanner(status);
        showFigures(status);
        put("stages", ...status.stages.map(stage => stageCard(status, stage)));
        place("stages").className = status.streams_old || status.database_old ? "old" : "";
        showStreams(status);
        showDead(status);
        showDatabase(status);
}

let seen = 0;   // when /status answered last

async function look() {
        try {
                const answer = await fetch("status", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
                if (!answer.ok) throw new Error(`it answers ${answer.status}`);
                show(await answer.json());
                seen = Date.now();
                document.querySelector("main").className = "";
        } catch (problem) {
                say("", `No answer from this program: ${problem.message}`);
                put("problems", make("li", {}, seen ? `What follows is ${duration((Date.now() - seen) / 1000)} old.` : "Nothing is known yet."));
                document.title = "? No answer";
                icon("#46505c");
                document.querySelector("main").className = "old";
        }
        setTimeout(look, EVERY_MS);
}

document.addEventListener("click", copy);
look();

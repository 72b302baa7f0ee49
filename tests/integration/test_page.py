"""The status page in Debian's Chromium, without a screen: it loads by itself alone, follows a feed, shows a backlog, an outage and its end, dead
letters and reorgs, what stands still and where; on a phone, in the dark, by keyboard and to a screen reader.

Each state is looked at on a desktop, light and dark, and on a phone. PAGE_PICTURES=FOLDER keeps the pictures."""
import base64
import json
import os
import re
import shutil
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service as Driver
from selenium.webdriver.common.keys import Keys

import feeds
from proxy import Proxy
from waiting import until


@pytest.fixture
def browser(tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
                     f"--user-data-dir={tmp_path}/browser", "--window-size=1200,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Driver(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def as_of_now(messages):
    """The same events, written by a producer that keeps up: ids and block times are of now."""
    def times(message):
        return [feeds.plain_number(event["transaction_information"]["block_timestamp"]) for event in message.events]
    later = int(time.time()) - max(max(times(message), default=0) for message in messages)
    return [replace(message, id=None, raw=None, events=tuple({**event, "transaction_information": {**event["transaction_information"], "block_timestamp": at + later}}
                                                             for event, at in zip(message.events, times(message)))) for message in messages]


def text(browser, where="body"):
    return browser.execute_script("return document.querySelector(arguments[0]).innerText", where)


def holds(browser, words, where, services=()):
    """A name that is shortened to the eye is whole in the page."""
    until(lambda: words in browser.execute_script("return document.querySelector(arguments[0]).textContent", where), f"{where} holds {words!r}", alive=services)


def shows(browser, words, where="body", services=()):
    def met():
        return words in text(browser, where)
    met.why = lambda: f"it shows {text(browser, where)!r}; console {browser.get_log('browser')}"
    until(met, f"{where} shows {words!r}", alive=services)


def requests_of(browser):
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            yield message["params"]["request"]["url"]


def emulate(browser, **how):
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": f"prefers-{name}", "value": value} for name, value in how.items()]})


GREEN, AMBER, RED = "rgb(16, 105, 58)", "rgb(138, 82, 0)", "rgb(179, 38, 30)"

# What a person could not read -> texts of what is wrong. Text with a background of its own is judged by that; what is greyed is meant to be faint.
UNREADABLE = """
const wrong = [], tall = document.documentElement;
if (tall.scrollWidth > innerWidth) wrong.push(`scrolls sideways: ${tall.scrollWidth} of ${innerWidth}`);
const light = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
const back = element => { while (element && getComputedStyle(element).backgroundColor === "rgba(0, 0, 0, 0)") element = element.parentElement;
        return element ? getComputedStyle(element).backgroundColor : "rgb(255, 255, 255)"; };
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), range = document.createRange();
for (let node; node = texts.nextNode();) {
        const element = node.parentElement;
        range.selectNodeContents(node);
        const at = range.getBoundingClientRect(), box = element.closest(".card, .banner, #figures div, #stages > li");
        if (!node.data.trim() || !at.width || element.closest(".skip, .unseen, script, noscript")) continue;
        const [a, b] = [light(getComputedStyle(element).color), light(back(element))].sort((x, y) => y - x);
        if ((a + .05) / (b + .05) < 4.5 && !element.closest(".old")) wrong.push(`faint, ${((a + .05) / (b + .05)).toFixed(1)}: ${node.data}`);
        if (element.closest(".middle")) continue;
        if (box && (at.left < box.getBoundingClientRect().left || at.right > box.getBoundingClientRect().right + 1)) wrong.push(`out of its box: ${node.data}`);
        if (element.tagName === "CODE") continue;
        for (const word of node.data.matchAll(/\\w+/g)) {
                range.setStart(node, word.index), range.setEnd(node, word.index + word[0].length);
                if (new Set([...range.getClientRects()].map(r => Math.round(r.top))).size > 1) wrong.push(`broken: ${word[0]}`);
        }
}
return wrong;
"""


def banner(browser):
    return browser.execute_script("return getComputedStyle(document.getElementById('banner')).backgroundColor")


def icon(browser):
    red, green, blue = re.search(r"fill%3D%22%23(..)(..)(..)", browser.execute_script("return document.getElementById('icon').href")).groups()
    return f"rgb({int(red, 16)}, {int(green, 16)}, {int(blue, 16)})"


def look_over(browser, name, colour, folder):
    """On a desktop, light and dark, and on a phone: everything can be read, and the banner and the icon have this colour."""
    folder = Path(os.environ.get("PAGE_PICTURES", folder))
    folder.mkdir(parents=True, exist_ok=True)
    for kind, pixels, scheme in (("desktop-light", 1200, "light"), ("desktop-dark", 1200, "dark"), ("phone-light", 390, "light")):
        emulate(browser, **{"color-scheme": scheme})
        width(browser, pixels)
        assert browser.execute_script(UNREADABLE) == [], f"{name}, {kind}"
        assert (banner(browser), icon(browser)) == (colour, colour), f"{name}, {kind}"
        tall = browser.execute_script("return document.documentElement.scrollHeight")
        picture = folder / f"{name}-{kind}.png"
        shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": {"x": 0, "y": 0, "width": pixels, "height": tall, "scale": 1}})
        picture.write_bytes(base64.b64decode(shot["data"]))
        assert picture.read_bytes().startswith(b"\x89PNG")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    return tall


def background(browser):
    return browser.execute_script("return getComputedStyle(document.body).backgroundColor")


def width(browser, pixels):
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": pixels, "height": 800, "deviceScaleFactor": 1, "mobile": pixels < 500})
    return browser.execute_script("return document.documentElement.scrollWidth")


def test_the_page_follows_the_pipeline(pipeline, small, browser, tmp_path):
    services = [service.ready() for service in pipeline.listen_to(small).start()]
    by_name = {service.name: service for service in services}
    for name in ("analytics", "ingest"):   # any of them shows the whole pipeline
        browser.get(f"http://127.0.0.1:{by_name[name].port}/")
        for stream in (*pipeline.streams, pipeline.vault_updates, pipeline.term_updates):
            holds(browser, stream, "#streams", services)
        shows(browser, "1 of 1 ready", "#stages", services)
    shows(browser, "Working", "#state", services)
    shows(browser, "No dead letters: every message could be stored", "#dead", services)
    shows(browser, "None yet.", "#reorgs", services)
    shows(browser, "Never run.", "#verify", services)
    shows(browser, "no event yet", "#figures", services)
    look_over(browser, "empty", GREEN, tmp_path)
    browser.execute_script("window.loadedOnce = true")

    pipeline.feed(as_of_now(small))
    until(pipeline.drained(), "all is drained", alive=services)
    number = pipeline.connect().execute("SELECT max(block_number) FROM share_price_changed_events").fetchone()[0]
    shows(browser, f"Last stored block\n{number:,}\n", "#figures", services)
    assert pipeline.run("cascade", "verify").returncode == 0
    shows(browser, "cascade", "#verify", services)
    rows = pipeline.connect().execute("SELECT count(*) FROM deposited_events").fetchone()[0]
    shows(browser, f"deposited_events\n{rows:,}", "#tables", services)
    until(lambda: re.search(r"about \d+ (ms|s)\n99 % within \d+ (ms|s),", text(browser, "#figures")), "the page shows delays", alive=services)
    assert text(browser, "#state") == "Working"
    tall = look_over(browser, "working", GREEN, tmp_path)
    assert tall <= 2 * 844, f"{tall} pixels are more than two screens of a phone"

    broken = pipeline.redis().xadd(pipeline.streams[0], {"payload": '{"event_name":"<img src=x onerror=alert(1)>"'})
    for _ in range(2):
        pipeline.redis().xadd(pipeline.vault_updates, {"payload": "x"})
    until(lambda: pipeline.redis().xlen(pipeline.dead_letter_stream) == 3, "the broken messages are dead", alive=services)
    shows(browser, "Working, but", "#state", services)
    shows(browser, "3 dead letters. Runbook PipelineDeadLetters", "#problems", services)
    shows(browser, f"1 of class json in ingest; the newest is of {pipeline.streams[0]} {broken}", "#dead", services)
    shows(browser, "2 of class ", "#dead", services)
    for command in re.findall(r"(ingest|cascade) dlq show (\S+)", text(browser, "#dead")):
        shown = pipeline.run(command[0], "dlq", "show", command[1])
        assert shown.returncode == 0 and shown.stdout, shown
    assert len(re.findall("dlq show", text(browser, "#dead"))) == 2
    assert browser.title.startswith("! 3 dead letters")
    look_over(browser, "dead-letters", AMBER, tmp_path)
    assert browser.execute_script("return window.loadedOnce"), "the page was loaded anew"

    origins = {url.split("/", 3)[2] for url in requests_of(browser) if url.startswith("http")}
    assert origins <= {f"127.0.0.1:{service.port}" for service in services}, origins
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


def test_outage_and_its_end(make_pipeline, own_redis, own_postgres, part, browser, tmp_path):
    own_redis.start(), own_postgres.start()
    pipeline = make_pipeline(redis=own_redis, postgres=own_postgres, CIRCUIT_BREAKER_TIMEOUT_MS=1000).listen_to(part)
    services = [service.ready() for service in pipeline.start()]
    browser.get(f"http://127.0.0.1:{services[0].port}/")
    shows(browser, "Working", "#state", services)
    shows(browser, "1 of 1 ready", "#stages", services)
    for server, name in ((own_postgres, "PostgreSQL"), (own_redis, "Redis")):
        server.kill()
        shows(browser, "Not working", "#state", services)
        shows(browser, f"{name} away", "#problems", services)
        shows(browser, "Runbook PipelineBreakerOpen", "#problems", services)
        assert browser.title.startswith("✗ ")
        if server is own_redis:
            shows(browser, "Old figures, of ", "#streams", services)
            look_over(browser, "outage", RED, tmp_path)
        server.start()
        until(lambda: text(browser, "#state") == "Working", "it works again", alive=services)
        assert banner(browser) == GREEN


def test_what_stands_still(pipeline, small, browser):
    """Any program's page, and status, know of the others: no replica, an open breaker, a program that waits."""
    proxy = Proxy(pipeline.redis_server.port)
    services = [pipeline.listen_to(small).start("ingest").ready(),
                pipeline.start("cascade", REDIS_URL=proxy.url(pipeline.redis_server.url(pipeline.redis_db))).ready()]
    pipeline.feed(small)
    browser.get(f"http://127.0.0.1:{services[0].port}/")
    shows(browser, "analytics: no replica runs. Runbook PipelineTargetDown", "#problems", services)
    assert text(browser, "#state") == "Not working" and banner(browser) == RED
    services.append(pipeline.start("analytics").ready())
    until(lambda: text(browser, "#state") == "Working", "it works", alive=services)

    other = pipeline.start("ingest", NETWORK="another")
    shows(browser, "ingest: 1 of 2 replicas not ready", "#problems", services)
    shows(browser, "1 of 2 ready", "#stages", services)
    assert text(browser, "#state") == "Working, but" and banner(browser) == AMBER
    browser.get(f"http://127.0.0.1:{other.port}/")
    shows(browser, "ingest waits for postgresql: this database holds the events of another network", "#problems", services)
    browser.get(f"http://127.0.0.1:{services[0].port}/")

    proxy.close()   # only cascade does not reach Redis any more
    shows(browser, "cascade: circuit breaker Open", "#problems", services)
    shows(browser, "circuit breaker Open", "#stages", services)

    def problems(document):
        return [problem["text"] for problem in json.loads(document)["problems"]]
    until(lambda: "cascade: circuit breaker Open" in problems(services[2].get("/status")[1]), "analytics shows it, too", alive=services)
    done = pipeline.run("analytics", "status")
    assert done.returncode == 1 and "\nnot working\n" in done.stdout and "\n  cascade: circuit breaker Open (runbook PipelineBreakerOpen)\n" in done.stdout
    assert "cascade: circuit breaker Open" in problems(pipeline.run("analytics", "status", "--json").stdout)


def test_a_lock_that_somebody_holds(pipeline, small, browser):
    """One of the three faults that a newcomer must find with the page and the runbooks alone."""
    services = [service.ready() for service in pipeline.listen_to(small).start(PROCESSING_TIMEOUT_MS=2000)]
    with pipeline.connect() as holder:
        holder.autocommit = False
        holder.execute("LOCK TABLE vault IN EXCLUSIVE MODE")
        pipeline.feed(small)
        browser.get(f"http://127.0.0.1:{services[0].port}/")
        until(lambda: re.search(r"an entry has been pending for \d+ s; a slow message, or a lock that somebody holds|none was acked for a minute|circuit breaker",
                                text(browser, "#problems")), "the page names the cause", alive=services)
        assert "it is halved units=" in services[0].messages(), services[0].tail()
        # A command sees the streams for a second: what happened before, the service of whichever program tells it.
        for service in services:
            def named():
                said = json.loads(pipeline.run("ingest", "status", "--json", HTTP_PORT=service.port).stdout)
                return said["state"] != "working" and {"PipelineOldestPending", "PipelineStalled", "PipelineBreakerOpen"} & {p["runbook"] for p in said["problems"]}
            until(named, "the command names the cause, too", alive=services)
        holder.rollback()
    until(lambda: text(browser, "#state") == "Working", "it works again", alive=services)


def test_a_backlog(pipeline, recording, browser, tmp_path):
    services = [service.ready() for service in pipeline.listen_to(recording).start(MAX_MESSAGES_PER_SECOND=25, WORKERS=1)]
    browser.get(f"http://127.0.0.1:{services[0].port}/")
    shows(browser, "Working", "#state", services)
    shows(browser, "nothing waits", "#stages", services)
    pipeline.feed(as_of_now(recording))
    shows(browser, "ingest is in a backlog: ", "#problems", services)
    until(lambda: re.search(r"[\d,]+ entries wait, \d[\d.]*/s, \d+ (s|min) left", text(browser, "#stages")), "it shows rate and time left", alive=services)
    done = set()

    def moves():
        done.update(browser.execute_script("return [...document.querySelectorAll('progress')].map(bar => bar.value).filter(value => value > 0)"))
        return len(done) > 3
    until(moves, "the bar moves", alive=services)
    until(lambda: re.search(r"Events a second\n[1-9]", text(browser, "#figures")), "the page shows events a second", alive=services)
    look_over(browser, "backlog", GREEN, tmp_path)


def test_reorgs_are_shown(pipeline, browser, tmp_path):
    """While they run, too: a session holds a notice up."""
    reorg = feeds.load("reorg.jsonl.xz")
    services = [service.ready() for service in pipeline.listen_to(reorg).start()]
    browser.get(f"http://127.0.0.1:{services[0].port}/")
    shows(browser, "None yet.", "#reorgs", services)
    first = next(i for i, message in enumerate(reorg) if message.name == "__rindexer_reorg")
    pipeline.feed(reorg[:first])
    until(pipeline.drained(), "all before the first notice is drained", alive=services)
    with pipeline.connect() as holder:
        holder.autocommit = False
        holder.execute("LOCK TABLE orphaned_events IN SHARE MODE")
        pipeline.feed(reorg[first:])
        until(lambda: re.search(r"^A reorg from block \d+ on is being handled: it moves up to [1-9]\d* events$", text(browser, "#problems")),
              "the page shows a reorg under way", alive=services)
        shows(browser, "Under way: from block ", "#reorgs", services)
        look_over(browser, "reorg", GREEN, tmp_path)
        assert "is being handled: it moves up to " in pipeline.run("cascade", "status").stdout
        holder.rollback()
    until(pipeline.drained(), "all is drained", alive=services)
    newest = pipeline.connect().execute("SELECT stream, fork_block, depth FROM reorgs WHERE counts ORDER BY created_at DESC LIMIT 5").fetchall()
    assert len(newest) == 5
    for stream, block, depth in newest:
        holds(browser, f"{stream}{block}{depth}", "#reorgs", services)
    assert "Under way" not in text(browser, "#reorgs") and text(browser, "#state") == "Working"


def test_a_program_that_ends(pipeline, browser):
    first = pipeline.start("ingest").ready()
    browser.get(f"http://127.0.0.1:{first.port}/")
    shows(browser, "no replica runs", "#problems", [first])
    dimmed = "return Number(getComputedStyle(document.querySelector('main')).opacity) < 1"
    first.stop()
    shows(browser, "No answer from this program", "#state")
    assert re.search(r"What follows is \d+ (s|ms) old", text(browser, "#problems")) and browser.execute_script(dimmed)
    again = pipeline.start("ingest", HTTP_PORT=first.port).ready()
    shows(browser, "no replica runs", "#problems", [again])
    assert not browser.execute_script(dimmed)


def test_everybody_can_read_it(pipeline, small, browser):
    services = [service.ready() for service in pipeline.listen_to(small).start()]
    pipeline.feed(small)
    pipeline.redis().xadd(pipeline.streams[0], {"payload": "x" * 300})
    until(lambda: pipeline.redis().xlen(pipeline.dead_letter_stream) == 1, "the broken message is dead", alive=services)
    browser.get(f"http://127.0.0.1:{services[0].port}/")
    for stream in (*pipeline.streams, pipeline.vault_updates, pipeline.term_updates):
        holds(browser, stream, "#streams", services)
    shows(browser, "json", "#dead", services)
    shows(browser, "1 of 1 ready", "#stages", services)
    assert width(browser, 360) <= 360, "a phone has to scroll sideways"
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    emulate(browser, **{"color-scheme": "light"})
    light = background(browser)
    emulate(browser, **{"color-scheme": "dark"})
    assert background(browser) != light

    reached = []
    for _ in range(10):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(browser.execute_script("const a = document.activeElement; return a.getAttribute('href') || a.getAttribute('aria-label') || ''"))
    copies = [name for name in reached if re.match(r"Copy ingest dlq show \d+-\d+$", name)]
    assert {"#streams", "status", "metrics"} <= set(reached) and copies, reached
    browser.execute_script("document.querySelector('button[data-copy]').focus()")
    focused = "return document.activeElement.dataset.copy || ''"
    seen = text(browser, "#figures")
    until(lambda: text(browser, "#figures") != seen, "the page is renewed", alive=services)
    assert browser.execute_script(focused), "the focus was lost"

    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node.get("ignored")]
    assert [name for role, name in named if role in ("image", "img")] == [], "a chart's caption is read, and not twice"
    captions = browser.execute_script("return [...document.querySelectorAll('svg + figcaption')].map(caption => caption.innerText)")
    assert len(captions) == len([*pipeline.streams, pipeline.vault_updates, pipeline.term_updates]) and all(captions), captions
    assert {"status", "banner", "main", "contentinfo", "table", "columnheader", "rowheader"} <= {role for role, _ in named}
    assert {"Working, but", "Figures", "Stages", "Streams", "Dead letters", "Reorgs", "Verify"} < {name for role, name in named if role == "heading"}


def test_headers_keep_everything_else_out(pipeline):
    service = pipeline.start("ingest").ready()
    for path in ("/", "/script.js", "/style.css"):
        with urllib.request.urlopen(f"http://127.0.0.1:{service.port}{path}") as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff" and "default-src 'none'" in policy, answer.headers
            assert "unsafe" not in policy and "http:" not in policy and "*" not in policy and "frame-ancestors 'none'" in policy

"""The status page in Debian's Chromium, without a screen: it loads by itself alone, follows a feed, shows an outage and its end, dead letters and
reorgs, what stands still and where; on a phone, in the dark, by keyboard and to a screen reader."""
import json
import re
import shutil
import urllib.request

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


def text(browser, where="body"):
    return browser.execute_script("return document.querySelector(arguments[0]).innerText", where)


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


def background(browser):
    return browser.execute_script("return getComputedStyle(document.body).backgroundColor")


def width(browser, pixels):
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": pixels, "height": 800, "deviceScaleFactor": 1, "mobile": True})
    return browser.execute_script("return document.documentElement.scrollWidth")


def test_the_page_follows_the_pipeline(pipeline, small, browser):
    services = [service.ready() for service in pipeline.listen_to(small).start()]
    by_name = {service.name: service for service in services}
    for name in ("analytics", "ingest"):   # any of them shows the whole pipeline
        browser.get(f"http://127.0.0.1:{by_name[name].port}/")
        for stream in (*pipeline.streams, pipeline.vault_updates, pipeline.term_updates):
            shows(browser, stream, "#stages", services)
        shows(browser, "1 replica", "#stages", services)
    shows(browser, "Working", "#state", services)
    browser.execute_script("window.loadedOnce = true")

    pipeline.feed(small)
    broken = pipeline.redis().xadd(pipeline.streams[0], {"payload": '{"event_name":"<img src=x onerror=alert(1)>"'})
    until(lambda: pipeline.redis().xlen(pipeline.dead_letter_stream) == 1, "the broken message is dead", alive=services)
    until(pipeline.drained(), "all is drained", alive=services)
    shows(browser, "Working; there are dead letters", "#state", services)
    shows(browser, broken, "#letters", services)
    assert "json" in text(browser, "#letters")
    assert pipeline.run("cascade", "verify").returncode == 0
    shows(browser, "cascade", "#verify", services)
    rows = pipeline.connect().execute("SELECT count(*) FROM deposited_events").fetchone()[0]
    shows(browser, f"deposited_events\n{rows:,}", "#tables", services)
    assert browser.execute_script("return window.loadedOnce"), "the page was loaded anew"

    origins = {url.split("/", 3)[2] for url in requests_of(browser) if url.startswith("http")}
    assert origins <= {f"127.0.0.1:{service.port}" for service in services}, origins
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


def test_outage_and_its_end(make_pipeline, own_redis, own_postgres, part, browser):
    own_redis.start(), own_postgres.start()
    pipeline = make_pipeline(redis=own_redis, postgres=own_postgres, CIRCUIT_BREAKER_TIMEOUT_MS=1000).listen_to(part)
    services = [service.ready() for service in pipeline.start()]
    browser.get(f"http://127.0.0.1:{services[0].port}/")
    shows(browser, "Working", "#state", services)
    for server, name in ((own_postgres, "PostgreSQL"), (own_redis, "Redis")):
        server.kill()
        shows(browser, f"{name} away", "#state", services)
        shows(browser, "away since", "#glance", services)
        server.start()
        shows(browser, "Working", "#state", services)


def test_what_stands_still(pipeline, small, browser):
    """Any program's page, and status, know of the others: no replica, an open breaker, a program that waits."""
    proxy = Proxy(pipeline.redis_server.port)
    services = [pipeline.listen_to(small).start("ingest").ready(),
                pipeline.start("cascade", REDIS_URL=proxy.url(pipeline.redis_server.url(pipeline.redis_db))).ready()]
    pipeline.feed(small)
    browser.get(f"http://127.0.0.1:{services[0].port}/")
    shows(browser, "analytics: no replica runs", "#state", services)
    services.append(pipeline.start("analytics").ready())
    shows(browser, "Working", "#state", services)

    other = pipeline.start("ingest", NETWORK="another")
    shows(browser, "ingest: 1 of 2 replicas not ready", "#state", services)
    shows(browser, "2 replicas, 1 ready", "#stages", services)
    browser.get(f"http://127.0.0.1:{other.port}/")
    shows(browser, "ingest waits for postgresql: this database holds the events of another network", "#state", services)
    browser.get(f"http://127.0.0.1:{services[0].port}/")

    proxy.close()   # only cascade does not reach Redis any more
    shows(browser, "cascade: circuit breaker Open", "#state", services)
    shows(browser, "circuit breaker Open", "#stages", services)
    until(lambda: "cascade: circuit breaker Open" in json.loads(services[2].get("/status")[1])["problems"], "analytics shows it, too", alive=services)
    assert "\ncascade: circuit breaker Open\n" in pipeline.run("analytics", "status").stdout
    assert "cascade: circuit breaker Open" in json.loads(pipeline.run("analytics", "status", "--json").stdout)["problems"]


def test_while_a_feed_runs(pipeline, part, browser):
    services = [service.ready() for service in pipeline.listen_to(part).start(MAX_MESSAGES_PER_SECOND=5, WORKERS=1)]
    browser.get(f"http://127.0.0.1:{services[0].port}/")
    shows(browser, "Working", "#state", services)
    shows(browser, "nothing waits", "#stages", services)
    pipeline.feed(part)
    seen = set()

    def moves():
        seen.update(re.findall(r"^lag ([1-9]\d*)", text(browser, "#stages"), re.MULTILINE))
        return len(seen) > 3
    until(moves, "the lag changes on the page", alive=services)
    shows(browser, "done in ", "#stages", services)
    until(lambda: re.search(r"^[1-9][\d.,]* events/s$", text(browser, "#stages"), re.MULTILINE), "the page shows events a second", alive=services)
    until(lambda: re.search(r"committed within [1-9]", text(browser, "#stages")), "the page shows delays", alive=services)


def test_reorgs_are_shown(pipeline, browser):
    reorg = feeds.load("reorg.jsonl.xz")
    services = [service.ready() for service in pipeline.listen_to(reorg).start()]
    browser.get(f"http://127.0.0.1:{services[0].port}/")
    shows(browser, "None.", "#reorgs", services)
    pipeline.feed(reorg)
    until(pipeline.drained(), "all is drained", alive=services)
    newest = pipeline.connect().execute("SELECT stream, fork_block, depth FROM reorgs WHERE counts ORDER BY created_at DESC LIMIT 5").fetchall()
    assert len(newest) == 5
    for stream, block, depth in newest:
        shows(browser, f"{stream}\t{block}\t{depth}", "#reorgs", services)


def test_a_program_that_ends(pipeline, browser):
    first = pipeline.start("ingest").ready()
    browser.get(f"http://127.0.0.1:{first.port}/")
    shows(browser, "no replica runs", "#state", [first])
    dimmed = "return Number(getComputedStyle(document.querySelector('main')).opacity) < 1"
    first.stop()
    shows(browser, "last seen at ", "#state")
    assert browser.execute_script(dimmed)
    again = pipeline.start("ingest", HTTP_PORT=first.port).ready()
    shows(browser, "no replica runs", "#state", [again])
    assert not browser.execute_script(dimmed)


def test_everybody_can_read_it(pipeline, small, browser):
    services = [service.ready() for service in pipeline.listen_to(small).start()]
    pipeline.feed(small)
    pipeline.redis().xadd(pipeline.streams[0], {"payload": "x" * 300})
    until(lambda: pipeline.redis().xlen(pipeline.dead_letter_stream) == 1, "the broken message is dead", alive=services)
    browser.get(f"http://127.0.0.1:{services[0].port}/")
    for stream in (*pipeline.streams, pipeline.vault_updates, pipeline.term_updates):
        shows(browser, stream, "#stages", services)
    shows(browser, "json", "#letters", services)
    assert width(browser, 360) <= 360, "a phone has to scroll sideways"
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    emulate(browser, **{"color-scheme": "light"})
    light = background(browser)
    emulate(browser, **{"color-scheme": "dark"})
    assert background(browser) != light

    reached = set()
    for _ in range(20):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        reached.add(browser.execute_script("const a = document.activeElement; return a.getAttribute('href') || a.getAttribute('aria-label') || ''"))
    assert {"#stages", "status", "metrics", "The newest; for all: dlq list"} <= reached, reached

    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node.get("ignored")]
    assert [name for role, name in named if role in ("image", "img")] == [], "a chart's caption is read, and not twice"
    captions = browser.execute_script("return [...document.querySelectorAll('svg + figcaption')].map(caption => caption.innerText)")
    assert len(captions) == 2 * len([*pipeline.streams, pipeline.vault_updates, pipeline.term_updates]) and all(captions), captions
    assert {"status", "banner", "main", "contentinfo"} <= {role for role, _ in named}
    assert [name for role, name in named if role == "heading"][:3] == ["Pipeline", "At a glance", "Stages"]


def test_headers_keep_everything_else_out(pipeline):
    service = pipeline.start("ingest").ready()
    for path in ("/", "/script.js", "/style.css"):
        with urllib.request.urlopen(f"http://127.0.0.1:{service.port}{path}") as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff" and "default-src 'none'" in policy, answer.headers
            assert "unsafe" not in policy and "http:" not in policy and "*" not in policy and "frame-ancestors 'none'" in policy

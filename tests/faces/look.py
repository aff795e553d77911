"""One page in a real browser: what axe-core finds, what a first visit weighs and takes, and how it looks."""

import base64
import gzip
import http.client
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
LIGHT, DARK, PHONE = LOOKS = ("light", "dark", "phone")
WIDTHS: Final = {LIGHT: 1360, DARK: 1360, PHONE: 390}
TALLEST: Final = 12_000  # pixels of a picture; a longer table goes on in the same way
REQUESTS: Final = 20  # of which the slowest but one is the p95
SLOWEST: Final = 150  # milliseconds at the p95
ROUNDS: Final = (
    3  # of the requests, as long as they are slower: other work on the machine is no fault of the page
)
HEAVIEST: Final = 150 * 1000  # bytes, compressed, of everything the first visit fetches

RUN_AXE: Final = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ["violations"]}).then(
  found => done(found.violations.map(rule => ({
    rule: rule.id, says: rule.help,
    where: rule.nodes.map(
      node => node.target.join(" ") + " | " + (node.failureSummary || "").split("\\n").slice(1).join(";")),
  }))),
  error => done([{rule: "axe failed", says: String(error), where: []}]));
"""


STICKING_OUT: Final = """
const root = document.documentElement, width = root.clientWidth;
if (root.scrollWidth <= width) return [];
return [`${root.scrollWidth} of ${width}`].concat([...document.querySelectorAll("body *")]
  .filter(each => each.getBoundingClientRect().right > width + 0.5 && !each.closest(".scroll, .nav"))
  .slice(0, 5).map(each => `${each.tagName}.${each.className} ${each.getBoundingClientRect().right}`));
"""


@dataclass
class Seen:
    """What was measured of one page."""

    name: str
    who: str
    address: str
    violations: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    bytes: int = 0
    heaviest: str = ""
    foreign: list[str] = field(default_factory=list)
    milliseconds: float = 0

    def keep(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(self), indent=1))

    @property
    def broken(self) -> list[str]:
        """Each violation in a line a person can act on."""
        return [
            f"{look}: {found['rule']} ({found['says']}): {where}"
            for look, rules in self.violations.items()
            for found in rules
            for where in found["where"][:3] or [""]
        ]


@cache
def axe() -> str:
    """The one file that is read of the package; importing it would want a browser's driver that is not installed."""
    spec = find_spec("axe_playwright_python")
    assert spec is not None, "axe-core is not installed: make setup"
    assert spec.submodule_search_locations is not None
    return (Path(spec.submodule_search_locations[0]) / "axe.min.js").read_text()


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_page_load_timeout(60)
    driver.set_script_timeout(60)
    try:
        yield driver
    finally:
        driver.quit()


def become(driver: webdriver.Chrome, site: str, cookies: dict[str, str]) -> None:
    """From now on the browser is this person's."""
    driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    for name, value in cookies.items():
        driver.execute_cdp_cmd("Network.setCookie", {"name": name, "value": value, "url": site})


def dress(driver: webdriver.Chrome, look: str, height: int = 900) -> None:
    """Light, dark, or as wide as a phone."""
    size = {"width": WIDTHS[look], "height": height, "deviceScaleFactor": 1, "mobile": look == PHONE}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if look == DARK else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def violations(driver: webdriver.Chrome) -> list[dict[str, Any]]:
    if not driver.execute_script("return typeof axe === 'object'"):
        driver.execute_script(axe())
    found: list[dict[str, Any]] = driver.execute_async_script(RUN_AXE)
    return found


def picture(driver: webdriver.Chrome, file: Path) -> None:
    """The whole page, also what is below the window."""
    width, height = driver.execute_script(
        "const root = document.documentElement; return [root.clientWidth, root.scrollHeight]"
    )
    clip = {"x": 0, "y": 0, "width": width, "height": min(height, TALLEST), "scale": 1}
    taken = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(base64.b64decode(taken["data"]))


def sticking_out(driver: webdriver.Chrome) -> list[str]:
    """For what a person would have to push the whole page sideways; empty when nothing is wider than the window."""
    found: list[str] = driver.execute_script(STICKING_OUT)
    return found


def fetched(driver: webdriver.Chrome) -> list[str]:
    """Addresses of what the page asked for beside itself."""
    script = "return performance.getEntriesByType('resource').map(entry => entry.name)"
    return sorted({name for name in driver.execute_script(script) if not name.startswith("data:")})


def weigh(seen: Seen, site: str, cookies: dict[str, str], others: list[str]) -> None:
    """Bytes as a proxy that compresses would send them; anybody else's address is noted, and not fetched."""
    seen.foreign = [name for name in others if not name.startswith(site)]
    weights = {name: compressed(name, None) for name in others if name.startswith(f"{site}/static/")}
    weights[seen.address] = compressed(site + seen.address, json.dumps(cookies))
    seen.bytes = sum(weights.values())
    heaviest = max(weights, key=lambda name: weights[name])
    seen.heaviest = f"{urlsplit(heaviest).path} {weights[heaviest]}"


@cache
def compressed(address: str, cookies: str | None) -> int:
    headers = {"Cookie": _header(json.loads(cookies))} if cookies else {}
    with urlopen(Request(address, headers=headers), timeout=60) as answer:  # noqa: S310  our own address
        body: bytes = answer.read()
    return len(gzip.compress(body, 6))


def server_time(site: str, path: str, cookies: dict[str, str]) -> float:
    """Milliseconds at the p95, of the first round that stays within the bar or else the best of all."""
    best = float("inf")
    for _ in range(ROUNDS):
        best = min(best, one_round(site, path, cookies))
        if best <= SLOWEST:
            break
    return best


def one_round(site: str, path: str, cookies: dict[str, str]) -> float:
    """Milliseconds to the last byte that 19 of 20 requests in a row stayed within, after one that does not count."""
    parts, taken = urlsplit(site), []
    for number in range(REQUESTS + 1):
        began = time.perf_counter()
        with closing(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)) as connection:
            connection.request("GET", path, headers={"Cookie": _header(cookies)})
            with closing(connection.getresponse()) as answer:
                answer.read()
                assert answer.status == 200, f"{path}: {answer.status}"
        if number:
            taken.append(time.perf_counter() - began)
    return sorted(taken)[REQUESTS * 95 // 100 - 1] * 1000


def _header(cookies: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())

"""Pages in a real browser: tooltips, legends, keys, sliders, narrow screens and both colour schemes."""

import shutil

import pytest

from emulator import speedup
from emulator.report import page
from tests.emulator.report.page.test_page import RESULTS, a_ring
from tests.emulator.report.test_report import a_result

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: make env")

pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.skip("chromium or its driver is not installed: make browser")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs[1]))
    yield driver
    driver.quit()


@pytest.fixture
def show(browser, tmp_path):
    """Open the page of these results; no error may stand in the browser's log when the test has ended."""

    def opened(*results):
        file = tmp_path / page.PAGE
        file.write_text(page.render(results), encoding="utf-8")
        browser.get(file.as_uri())
        return browser

    yield opened
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []


def result_of(form, pattern, t_comp, alpha, beta, gamma=0.0, size=None):
    """A result of ``demos.speedup`` with these terms, and the model that it is of."""
    if size is None:
        model = getattr(speedup, form)(t_comp, alpha, beta)
    else:
        model = speedup.measured(t_comp, pattern, size, alpha, beta, gamma)
    dominated = model.dominated()
    one = {
        "form": model.form, "about": "", "t_comp": t_comp, "alpha": alpha, "beta": beta, "gamma": gamma, "rows": [],
        "best": model.best().record(), "best_ci95": None, "dominated": dominated.record() if dominated else None,
        "knee": model.best().record(), "efficient": None, "sensitivity": [],
    }  # fmt: skip
    one |= {} if size is None else {"pattern": pattern, "bytes": size}
    return a_result(demo="speedup", speedup=one)


MEASURED = (0.1, 2.5e-5, 7e-10, 1e-10, 8 << 20)
CASES = [
    ("textbook", "", 1.0, 8e-4, 0.04),
    ("ring", "", 2.0, 1e-5, 0.3),
    *(
        ("measured", name, 0.1, 2.5e-5, 7e-10, 1e-10, 8 << 20)
        for name in ("ring", "rabenseifner", "k_ary_tree", "tree")
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[1] or case[0])
def test_the_sliders_speak_by_the_formulas_of_the_model(show, case):
    form, pattern, t_comp, alpha, beta, *rest = case
    browser = show(result_of(*case))
    factors = {"t_comp": 0.5, "alpha": -1.25, "beta": 0.75} | ({"bytes": -0.5} if rest else {})
    told = browser.execute_script(
        """for (const [term, power] of Object.entries(arguments[0])) {
             const slider = document.querySelector(`[data-term="${term}"]`);
             slider.value = power;
             slider.dispatchEvent(new Event("input"));
           }
           return Object.assign({}, document.querySelector(".scenario").dataset);""",
        factors,
    )
    moved = {name: 10**power for name, power in factors.items()}
    terms = (t_comp * moved["t_comp"], alpha * moved["alpha"], beta * moved["beta"])
    if rest:
        gamma, size = rest
        expected = speedup.measured(terms[0], pattern, size * moved["bytes"], terms[1], terms[2], gamma)
    else:
        expected = getattr(speedup, form)(*terms)
    best, dominated = expected.best(), expected.dominated()
    assert int(told["best"]) == best.p
    assert float(told["speedup"]) == pytest.approx(best.speedup, rel=1e-9)
    assert told["dominated"] == (str(dominated.p) if dominated else "")
    said = f"p* = {best.p}," if best.p < speedup.MOST_NODES else f"p* > {best.p}:"
    assert browser.find_element("css selector", ".verdict").text.startswith(said)


def test_a_scenario_starts_as_measured_and_comes_back_to_it(show):
    browser = show(a_ring())
    verdict = browser.find_element("css selector", ".verdict")
    before = verdict.text
    browser.execute_script(
        """const slider = document.querySelector('[data-term="alpha"]');
           slider.value = 2; slider.dispatchEvent(new Event("input"));"""
    )
    assert verdict.text != before
    browser.find_element("css selector", ".reset").click()
    assert verdict.text == before


def test_without_javascript_a_scenario_says_the_same_and_has_no_sliders(show, browser):
    told = show(result_of(*CASES[-1])).find_element("css selector", ".verdict").text
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(result_of(*CASES[-1]))
        assert browser.find_element("css selector", ".verdict").text == told
        assert not any(slider.is_displayed() for slider in browser.find_elements("css selector", ".scenario input"))
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_keys_walk_through_the_points_of_a_chart_and_say_them(show):
    browser = show(a_ring())
    chart = browser.find_element("css selector", ".chart")
    tip = browser.find_element("id", "tip")
    assert not tip.is_displayed()
    said = []
    browser.execute_script("arguments[0].focus()", chart)
    for key in ("\ue014", "\ue014", "\ue012"):  # right, right, left
        webdriver.ActionChains(browser).send_keys(key).perform()
        said.append(tip.text)
    assert said[0] == said[2] != said[1]
    assert "size" in said[0]
    assert "time" in said[0]
    webdriver.ActionChains(browser).send_keys("\ue00c").perform()  # escape
    assert not tip.is_displayed()


def test_a_legend_hides_and_shows_its_curves(show):
    browser = show(a_ring())
    button = browser.find_element("css selector", ".legend button")
    curve = browser.find_element("css selector", f'.chart [data-curve="{button.get_attribute("data-curves")}"]')
    assert curve.is_displayed()
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert not curve.is_displayed()
    button.click()
    assert curve.is_displayed()


@pytest.mark.parametrize("make", RESULTS.values(), ids=RESULTS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone_in_both_colour_schemes(show, make, scheme):
    browser = show(make())
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    try:
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 400
        captions = "return [...document.querySelectorAll('caption')].map(one => one.getBoundingClientRect().right)"
        assert max(browser.execute_script(captions), default=0) <= 400
        colours = "const style = getComputedStyle(document.body); return [style.color, style.backgroundColor]"
        ink, paper = (_luminance(colour) for colour in browser.execute_script(colours))
        assert (ink < paper) == (scheme == "light")
        assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) > 7  # WCAG's contrast of text, level AAA
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.parametrize("width", [400, 1200])
def test_a_whiteboard_scrolls_on_a_phone_and_keeps_its_size(show, width):
    drawn = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 500" width="800" height="500"></svg>'
    told = {"p": 4, "p_star": 4, "knee": 4, "speedup": 3.5, "step": 0.1, "terms": {}, "origin": "network 25gbe"}
    browser = show(a_result(demo="design", prediction=told, whiteboard=drawn))
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width == 400}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        box, image, page_width = browser.execute_script(
            """const box = document.querySelector(".drawing");
            return [box.clientWidth, box.firstChild.clientWidth, document.documentElement.scrollWidth]"""
        )
        assert page_width <= width
        assert image >= 800
        assert (image > box) == (width == 400)
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def _luminance(colour):
    """Relative luminance of ``rgb(r, g, b)``, as WCAG 2 defines it."""
    parts = [int(part) / 255 for part in colour.partition("(")[2].rstrip(")").split(",")[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

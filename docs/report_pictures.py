"""Makes the pictures of docs/report.md: real runs on the digits, and their report in Chromium at 1,280 and 360 pixels.

Run it as `python docs/report_pictures.py`; it takes half a minute. It needs the extra `dev` and Debian's chromium.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parent / "images"

GRID = ("--param", "schedule.max_lr=0.02,0.1,0.5", "--param", "optimizer.weight_decay=1e-4,1e-2")

RUNS = (
    ("find-lr", "digits", "--repeats", "3", "--name", "find-lr"),
    ("train", "digits", "--max-lr-from", "find-lr", "--epochs", "6", "--name", "train"),
    ("evaluate", "train", "--name", "evaluate"),
    ("sweep", "digits", "--epochs", "3", "--name", "sweep", "--seeds", "2", *GRID),
)

COLORS = 256
"""The colours of a picture: with all of them it is three times as large."""


def save(page: Page, name: str, anchor: str) -> None:
    """Saves what the window shows from an element on."""
    page.evaluate("id => document.getElementById(id).scrollIntoView({ behavior: 'instant' })", anchor)
    path = IMAGES / name
    page.screenshot(path=path)
    Image.open(path).convert("RGB").quantize(COLORS).save(path, optimize=True)
    print(path, f"{path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Makes the runs, their report and the pictures."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        command = [sys.executable, "-m", "onecycle_cli"]
        for words in RUNS:
            subprocess.run([*command, *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        for name, runs in {"demo": ["find-lr", "train", "evaluate"], "sweep": ["sweep"]}.items():
            subprocess.run([*command, "report", *runs, "--output", f"{name}.html"], cwd=folder, check=True)
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])

        def opened(name: str, width: int, height: int, scheme: str = "light") -> Page:
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
            page.goto((Path(folder) / f"{name}.html").as_uri())
            page.wait_for_selector("html[data-ready]")
            return page

        wide = opened("demo", 1280, 1000)
        save(wide, "report-1280.png", "run-1-find-lr")
        save(opened("demo", 360, 900), "report-360.png", "run-1-find-lr-lr-range")
        save(opened("demo", 360, 900), "report-training-360.png", "run-2-train-training")
        save(opened("demo", 1280, 1000, "dark"), "report-dark-1280.png", "run-3-evaluate-scores-confusion-caption")
        save(opened("sweep", 1280, 900), "report-sweep-1280.png", "run-1-sweep-sweep")
        browser.close()


if __name__ == "__main__":
    main()

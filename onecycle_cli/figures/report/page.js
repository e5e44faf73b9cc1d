"use strict";
(() => {
  const say = (text) => { document.getElementById("said").textContent = text; };
  const kept = {
    // A page opened from a file may have no storage.
    get(name) { try { return localStorage.getItem(name); } catch { return null; } },
    set(name, value) { try { localStorage.setItem(name, value); } catch { /* the choice lasts as long as the page */ } },
  };

  // Colours: automatic, light, dark.
  const themes = ["automatic", "light", "dark"];
  const themeButton = document.getElementById("theme");
  const setTheme = (name) => {
    if (name === "automatic") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    themeButton.textContent = `Colours: ${name}`;
    kept.set("onecycle-report-colours", name);
  };
  const saved = kept.get("onecycle-report-colours");
  let theme = themes.includes(saved) ? saved : "automatic";
  setTheme(theme);
  themeButton.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    setTheme(theme);
  });

  // Sorting.
  for (const button of document.querySelectorAll("button.sort")) {
    button.addEventListener("click", () => {
      const heading = button.parentElement, row = heading.parentElement, body = heading.closest("table").tBodies[0];
      const column = [...row.children].indexOf(heading);
      const down = heading.getAttribute("aria-sort") === "ascending";
      for (const other of row.children) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (line) => {
        const cell = line.children[column];
        return cell.dataset.number === undefined ? cell.textContent.trim() : Number(cell.dataset.number);
      };
      const order = (a, b) => {
        const x = key(a), y = key(b);
        if (x === "" || y === "") return (x === "") - (y === ""); // what has no value stays at the end
        const numbers = typeof x === "number" && typeof y === "number";
        const ascending = numbers ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
        return down ? -ascending : ascending;
      };
      body.append(...[...body.rows].sort(order));
      say(`Sorted by ${button.textContent.replace("\u2060", "")}, ${down ? "descending" : "ascending"}.`);
    });
  }

  // Copying.
  for (const button of document.querySelectorAll("button.copy")) {
    const text = button.previousElementSibling;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text.textContent.trimEnd());
        say("Copied.");
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(text);
        say("Selected: copy it with the keyboard.");
      }
    });
  }

  // Figures.
  const config = {
    background: null,
    font: "system-ui, sans-serif",
    aria: false,
    axis: {
      labelColor: "currentColor", titleColor: "currentColor", gridColor: "currentColor", gridOpacity: 0.13,
      domainColor: "currentColor", domainOpacity: 0.5, tickColor: "currentColor", tickOpacity: 0.5,
      labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal",
    },
    axisY: { minExtent: 50, maxExtent: 50 },
    view: { stroke: null },
  };
  const rows = (columns, labels) => {
    const names = Object.keys(columns);
    const value = (name, i) => (name === "run" ? labels[columns.run[i]] : columns[name][i]);
    return columns[names[0]].map((_, i) => Object.fromEntries(names.map((name) => [name, value(name, i)])));
  };

  class Figure {
    constructor(element) {
      this.element = element;
      const found = JSON.parse(element.querySelector("script.figure-data").textContent);
      this.panels = found.panels;
      const expanded = ([name, columns]) => [name, rows(columns, found.labels)];
      this.data = Object.fromEntries(Object.entries(found.data).map(expanded));
      this.charts = [...element.querySelectorAll(".chart")];
      this.views = [];
      this.domain = null;
      this.whole = null;
      this.isLog = found.log;
      this.begun = false;
      for (const button of element.querySelectorAll("[data-do]")) {
        button.addEventListener("click", () => this.do(button));
      }
      if (found.zoom) this.charts.forEach((chart, number) => this.brush(chart, number));
    }

    async draw() {
      this.begun = true;
      for (const [number, chart] of this.charts.entries()) {
        const spec = structuredClone(this.panels[number].spec);
        spec.config = config;
        spec.datasets = this.data;
        spec.autosize = { type: "fit-x", contains: "padding" };
        for (const layer of spec.layer) this.change(layer.encoding, this.isLog && this.panels[number].log);
        this.views[number]?.finalize();
        const made = await vegaEmbed(chart, spec, {
          mode: "vega-lite", renderer: "svg", ast: true, actions: false, defaultStyle: false,
          tooltip: { disableDefaultStyle: true },
        });
        this.views[number] = made.view;
        this.whole ??= this.isQuantitative() ? made.view.scale("x").domain() : null;
      }
      this.element.dataset.drawn = "";
    }

    isQuantitative() { return this.panels[0].spec.layer[0].encoding.x.type === "quantitative"; }

    change(encoding, isLog) {
      if (this.domain) encoding.x.scale = { ...encoding.x.scale, domain: this.domain };
      if (isLog && encoding.y?.type === "quantitative" && encoding.y.axis !== null) {
        const { domain, zero, padding, ...scale } = encoding.y.scale ?? {};
        encoding.y.scale = { ...scale, type: "log", nice: false };
        encoding.y.axis = { ...encoding.y.axis, format: ".3~g" };
      }
    }

    // Positions on the x axis as numbers on which a zoom is even: logarithms, if the axis is logarithmic.
    even() { return this.panels[0].spec.layer[0].encoding.x.scale?.type === "log" ? [Math.log, Math.exp] : [(x) => x, (x) => x]; }

    zoom(first, last) {
      const [to, from] = this.even(), [low, high] = this.whole.map(to);
      let [a, b] = [to(first), to(last)];
      const least = (high - low) / 1000;
      if (b - a < least) [a, b] = [(a + b - least) / 2, (a + b + least) / 2];
      [a, b] = [Math.max(a, low), Math.min(b, high)];
      this.domain = a <= low && b >= high ? null : [from(a), from(b)];
      return this.draw();
    }

    async do(button) {
      const [to, from] = this.even(), what = button.dataset.do;
      if (what === "log") {
        this.isLog = !this.isLog;
        button.setAttribute("aria-pressed", String(this.isLog));
        await this.draw();
        return;
      }
      if (what === "all") {
        this.domain = null;
        await this.draw();
        say("The whole range.");
        return;
      }
      const [a, b] = (this.domain ?? this.whole).map(to), width = b - a;
      const [low, high] = this.whole.map(to);
      const moves = {
        in: [a + width / 4, b - width / 4],
        out: [a - width / 2, b + width / 2],
        left: [Math.max(a - width / 4, low), Math.max(a - width / 4, low) + width],
        right: [Math.min(b + width / 4, high) - width, Math.min(b + width / 4, high)],
      };
      await this.zoom(...moves[what].map(from));
      say(`From ${this.told(0)} to ${this.told(1)}.`);
    }

    told(end) { return Number((this.domain ?? this.whole)[end].toPrecision(3)).toString(); }

    brush(chart, number) {
      let begin = null, band = null;
      const left = () => this.views[number].origin()[0] + this.views[number].padding().left;
      const place = (event) => {
        const wide = this.views[number].width();
        return Math.min(Math.max(event.clientX - chart.getBoundingClientRect().left - left(), 0), wide);
      };
      chart.addEventListener("pointerdown", (event) => {
        // A finger scrolls the page; the buttons zoom.
        if (event.pointerType !== "mouse" || event.button !== 0 || !this.views[number]) return;
        begin = place(event);
        chart.setPointerCapture(event.pointerId);
        event.preventDefault();
      });
      chart.addEventListener("pointermove", (event) => {
        if (begin === null) return;
        if (!band) {
          band = document.createElement("div");
          band.className = "brush";
          chart.append(band);
        }
        const end = place(event);
        band.style.left = `${Math.min(begin, end) + left()}px`;
        band.style.width = `${Math.abs(end - begin)}px`;
      });
      const stop = (event) => {
        if (begin === null) return;
        const end = place(event), ends = [Math.min(begin, end), Math.max(begin, end)];
        begin = null;
        band?.remove();
        band = null;
        if (event.type === "pointerup" && ends[1] - ends[0] > 5) {
          this.zoom(...ends.map((x) => this.views[number].scale("x").invert(x)));
        }
      };
      chart.addEventListener("pointerup", stop);
      chart.addEventListener("pointercancel", stop);
      chart.addEventListener("dblclick", () => { this.domain = null; this.draw(); });
    }
  }

  const figures = new Map();
  for (const element of document.querySelectorAll("figure")) figures.set(element.id, new Figure(element));
  const isOpen = (figure) => !figure.element.closest("details:not([open])");
  const drawOpen = async () => {
    for (const figure of figures.values()) if (!figure.begun && isOpen(figure)) await figure.draw();
  };
  for (const details of document.querySelectorAll("details")) details.addEventListener("toggle", drawOpen);
  drawOpen().then(() => { document.documentElement.dataset.ready = ""; });

  for (const button of document.querySelectorAll("button.show")) {
    button.addEventListener("click", async () => {
      const figure = figures.get(button.dataset.figure);
      const first = Number(button.dataset.first), last = Number(button.dataset.last), room = Math.max(last - first, 0.5);
      await figure.zoom(first - room / 2, last + room / 2);
      figure.element.scrollIntoView();
      figure.element.focus({ preventScroll: true });
      say(`The curves from ${figure.told(0)} to ${figure.told(1)} epochs.`);
    });
  }

  // A page that refreshes itself.
  const live = document.querySelector("meta[name=live]");
  if (live && live.hasAttribute("data-running")) {
    const status = document.getElementById("live"), pause = document.getElementById("pause");
    let isPaused = sessionStorage.getItem("paused") === "yes";
    const show = () => {
      pause.setAttribute("aria-pressed", String(isPaused));
      status.textContent = isPaused ? "The updates are paused." : "This page is up to date with its runs, and refreshes by itself.";
    };
    pause.addEventListener("click", () => {
      isPaused = !isPaused;
      sessionStorage.setItem("paused", isPaused ? "yes" : "no");
      show();
    });
    show();
    const look = async () => {
      if (!isPaused && document.visibilityState === "visible") {
        try {
          const answer = await fetch("version", { cache: "no-store" });
          if (answer.ok && (await answer.json()).version !== live.content) {
            location.reload();
            return;
          }
          show();
        } catch {
          status.textContent = "The server has ended: this is the last state that it gave.";
        }
      }
      setTimeout(look, 2000);
    };
    setTimeout(look, 2000);
  } else {
    document.getElementById("pause")?.remove();
  }
})();

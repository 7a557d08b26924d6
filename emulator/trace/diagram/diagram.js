"use strict";
/* Time-space diagrams: each figure.timeline has its data in a script element; see emulator/trace/diagram. */
(() => {
  const NS = "http://www.w3.org/2000/svg";
  const LEFT = 76, RIGHT = 10, TOP = 24, SHAPES = 9000, CROWD = 400, OPENING = 100;

  function time(seconds) {
    const size = Math.abs(seconds);
    for (const [unit, factor] of [["s", 1], ["ms", 1e-3], ["us", 1e-6]])
      if (size >= factor) return `${+(seconds / factor).toPrecision(5)} ${unit}`;
    return size ? `${+(seconds / 1e-9).toPrecision(5)} ns` : "0 s";
  }

  function make(parent, name, attributes, text) {
    const node = document.createElementNS(NS, name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    if (text !== undefined) node.textContent = text;
    parent.appendChild(node);
    return node;
  }

  class Diagram {
    constructor(figure) {
      this.data = JSON.parse(figure.querySelector('script[type="application/json"]').textContent);
      this.kinds = [...figure.querySelectorAll(".tl-legend i")].map((i) => [+i.className.slice(4), i.parentNode.textContent]);
      this.names = Object.fromEntries(this.kinds);
      this.view = figure.querySelector(".tl-view");
      this.tip = figure.querySelector(".tl-tip");
      this.output = figure.querySelector(".tl-bar output");
      this.pathButton = figure.querySelector('[data-do="path"]');
      this.whole = Math.max(1, Math.round(this.data.seconds / this.data.tick));
      [this.from, this.to] = this.opening();
      this.showPath = false;
      this.row = Math.max(14, Math.min(46, 620 / this.data.ranks.length));
      this.listen(figure);
      this.draw();
    }

    /* The first view: as many messages as can be told apart, around the first fault, if there is one. */
    opening() {
      const sent = this.data.messages.map(([, , asked]) => asked).sort((one, other) => one - other);
      if (sent.length <= OPENING) return [0, this.whole];
      const faults = this.data.ranks.flatMap((rank) => rank.faults.map(([at]) => at));
      const before = faults.length ? sent.filter((at) => at < Math.min(...faults)).length - OPENING / 2 : 0;
      const first = Math.max(0, Math.min(sent.length - OPENING, before));
      const from = sent[first], to = Math.max(sent[first + OPENING - 1], from + 20);
      return [from, Math.min(this.whole, to)];
    }

    listen(figure) {
      const act = { in: () => this.zoom(0.5), out: () => this.zoom(2), left: () => this.move(-0.25), right: () => this.move(0.25), all: () => this.show(0, this.whole), path: () => this.path() };
      for (const button of figure.querySelectorAll("[data-do]")) button.addEventListener("click", act[button.dataset.do]);
      const keys = { "+": act.in, "=": act.in, "-": act.out, ArrowLeft: act.left, ArrowRight: act.right, 0: act.all, Home: () => this.move(-1e9), End: () => this.move(1e9), p: act.path };
      this.view.addEventListener("keydown", (event) => {
        if (keys[event.key] && !event.ctrlKey && !event.metaKey) { keys[event.key](); event.preventDefault(); }
      });
      this.view.addEventListener("wheel", (event) => {
        event.preventDefault();
        this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.share(event));
      }, { passive: false });
      let last = null;
      this.view.addEventListener("pointerdown", (event) => { last = event.clientX; this.view.setPointerCapture(event.pointerId); });
      this.view.addEventListener("pointerup", () => { last = null; });
      this.view.addEventListener("pointermove", (event) => {
        if (last === null) { this.tell(event.target); return; }
        this.move(-(event.clientX - last) / Math.max(1, this.width - LEFT - RIGHT));
        last = event.clientX;
      });
      new ResizeObserver(() => { if (this.view.clientWidth !== this.width) this.draw(); }).observe(this.view);
    }

    share(event) {
      const box = this.view.getBoundingClientRect();
      return Math.min(1, Math.max(0, (event.clientX - box.left - LEFT) / Math.max(1, box.width - LEFT - RIGHT)));
    }

    tell(node) {
      if (node.dataset && node.dataset.tip) this.tip.textContent = node.dataset.tip;
    }

    zoom(factor, at = 0.5) {
      const length = Math.min(this.whole, Math.max(20, (this.to - this.from) * factor));
      const fixed = this.from + at * (this.to - this.from);
      this.show(fixed - at * length, fixed + (1 - at) * length);
    }

    move(share) { const by = share * (this.to - this.from); this.show(this.from + by, this.to + by); }

    show(from, to) {
      const length = Math.min(to - from, this.whole);
      this.from = Math.min(Math.max(0, from), this.whole - length);
      this.to = this.from + length;
      this.draw();
    }

    path() {
      this.showPath = !this.showPath;
      this.pathButton.setAttribute("aria-pressed", this.showPath);
      this.draw();
    }

    at(ticks) { return time(this.data.since + ticks * this.data.tick); }
    x(ticks) { return LEFT + ((ticks - this.from) / (this.to - this.from)) * (this.width - LEFT - RIGHT); }
    y(place) { return TOP + (place + 0.5) * this.row; }

    draw() {
      this.width = Math.max(280, this.view.clientWidth);
      const height = TOP + this.data.ranks.length * this.row + 8;
      const svg = document.createElementNS(NS, "svg");
      svg.setAttribute("viewBox", `0 0 ${this.width} ${height}`);
      svg.setAttribute("height", height);
      this.left = SHAPES;
      this.hidden = 0;
      this.axis(svg, height);
      const clip = make(svg, "clipPath", { id: `tl-clip-${Diagram.count = (Diagram.count || 0) + 1}` });
      make(clip, "rect", { x: LEFT, y: 0, width: Math.max(1, this.width - LEFT - RIGHT), height });
      const inside = make(svg, "g", { "clip-path": `url(#${clip.id})` });
      this.data.ranks.forEach((rank, place) => this.rank(svg, inside, rank, place));
      this.messages(inside);
      if (this.showPath) this.drawPath(inside);
      this.faults(inside);
      this.view.replaceChildren(svg);
      const left = this.hidden ? `; ${this.hidden} shapes not drawn: zoom in` : "";
      const part = this.to - this.from < this.whole ? `, of ${this.at(0)} to ${this.at(this.whole)}` : "";
      this.output.textContent = `${this.at(this.from)} to ${this.at(this.to)}${part}${left}`;
    }

    axis(svg, height) {
      const { since, tick } = this.data, room = Math.max(2, Math.floor((this.width - LEFT) / 130));
      const least = ((this.to - this.from) * tick) / room, power = 10 ** Math.floor(Math.log10(least));
      const step = power * ([1, 2, 5].find((one) => one * power >= least) || 10);
      const begin = since + this.from * tick, end = since + this.to * tick;
      for (let number = Math.ceil(begin / step); number * step <= end; number++) {
        const x = this.x((number * step - since) / tick);
        make(svg, "line", { class: "tl-grid", x1: x, x2: x, y1: TOP - 4, y2: height });
        if (x < this.width - 36) make(svg, "text", { x, y: 14, "text-anchor": x < LEFT + 20 ? "start" : "middle" }, time(number * step));
      }
    }

    visible(begin, end) { return end >= this.from && begin <= this.to; }

    take() {
      if (this.left > 0) { this.left--; return true; }
      this.hidden++;
      return false;
    }

    rank(svg, inside, rank, place) {
      const y = this.y(place), thick = Math.min(12, this.row * 0.45);
      make(svg, "text", { class: "tl-name", x: 4, y: y + 4 }, rank.name);
      make(inside, "line", { class: "tl-grid", x1: LEFT, x2: this.width - RIGHT, y1: y, y2: y });
      rank.phases.forEach(([begin, end, name], number) => {
        if (!this.visible(begin, end) || this.x(end) - this.x(begin) < 1.5 || !this.take()) return;
        const x = this.x(begin), width = this.x(end) - x;
        const tip = `${rank.name}: phase ${name}, ${this.at(begin)} to ${this.at(end)}`;
        make(inside, "rect", { class: number % 2 ? "tl-band odd" : "tl-band", x, width, y: y - this.row * 0.48, height: this.row * 0.96, "data-tip": tip });
        const left = Math.max(x, LEFT);
        if (x + width - left > 6.5 * name.length && this.row >= 24) make(inside, "text", { class: "tl-phase", x: left + 2, y: y - this.row * 0.3 }, name);
      });
      for (const [begin, end, kind, peer] of rank.spans) {
        if (!this.visible(begin, end)) continue;
        const x = this.x(begin), width = this.x(end) - x;
        if (width < 0.3 || !this.take()) continue;
        const whom = peer >= 0 ? `, rank ${peer}` : "";
        const tip = `${rank.name}: ${this.names[kind]}${whom}, ${time((end - begin) * this.data.tick)} from ${this.at(begin)}`;
        make(inside, "rect", { class: `tl-k${kind}`, x, width, y: y - thick / 2, height: thick, "data-tip": tip });
      }
    }

    messages(inside) {
      const shown = this.data.messages.filter(([, , asked, got]) => this.visible(asked, got));
      const crowded = shown.length > CROWD;  // then arrows without heads, faint
      for (const [source, target, asked, got, size] of shown) {
        if (!this.take()) continue;
        const x1 = this.x(asked), y1 = this.y(source), x2 = this.x(got), y2 = this.y(target);
        const tip = `message from ${this.data.ranks[source].name} to ${this.data.ranks[target].name}, ${size} bytes, ${this.at(asked)} to ${this.at(got)}`;
        make(inside, "line", { class: crowded ? "tl-msg faint" : "tl-msg", x1, y1, x2, y2, "data-tip": tip });
        if (crowded) continue;
        const turn = (Math.atan2(y2 - y1, x2 - x1) * 180) / Math.PI;
        make(inside, "path", { class: "tl-head", d: "M0 0 -7 -2.6 -7 2.6z", transform: `translate(${x2} ${y2}) rotate(${turn})` });
      }
    }

    drawPath(inside) {
      for (const [begin, end, place, other, kind] of this.data.path) {
        if (!this.visible(begin, end)) continue;
        const y1 = this.y(place), y2 = this.y(other >= 0 ? other : place);
        const tip = `critical path: ${kind}, ${time((end - begin) * this.data.tick)} from ${this.at(begin)}`;
        make(inside, "line", { class: "tl-path", x1: this.x(begin), y1, x2: this.x(end), y2, "data-tip": tip });
      }
    }

    faults(inside) {
      this.data.ranks.forEach((rank, place) => {
        for (const [at, text] of rank.faults) {
          const x = this.x(at), y = this.y(place);
          make(inside, "path", { class: "tl-fault", d: `M${x - 7} ${y - 7} ${x + 7} ${y + 7}M${x - 7} ${y + 7} ${x + 7} ${y - 7}`, "data-tip": `${rank.name}: ${text}, at ${this.at(at)}` });
        }
      });
    }
  }

  for (const figure of document.querySelectorAll("figure.timeline")) figure.diagram = new Diagram(figure);
})();

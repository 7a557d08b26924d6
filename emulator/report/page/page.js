"use strict";

// The speedup model of emulator.speedup: T(p) = T_comp / p + alpha S(p) + beta V(p) n + gamma R(p) n.
// A scenario's pieces say for S, V and R where each is a + b p + c / p: rows of [first p, a, b, c].
const MOST_NODES = 4096;

function coefficients(pieces) {
  const values = new Float64Array(MOST_NODES + 1);
  pieces.forEach(([first, a, b, c], index) => {
    const next = index + 1 < pieces.length ? pieces[index + 1][0] : MOST_NODES + 1;
    for (let p = first; p < next; p++) values[p] = a + b * p + c / p;
  });
  return values;
}

function speedupModel(scenario, terms) {
  scenario.known = scenario.known || scenario.pieces.map(coefficients);
  const [steps, volume, reduced] = scenario.known;
  const n = terms.bytes === null ? 1 : terms.bytes;
  const communication = (p, alpha, beta, gamma) => alpha * steps[p] + (beta * volume[p] + gamma * reduced[p]) * n;
  const row = (p, alpha = terms.alpha, beta = terms.beta, gamma = terms.gamma) => {
    const took = communication(p, alpha, beta, gamma), compute = terms.t_comp / p;
    return { p, step: compute + took, speedup: terms.t_comp / (compute + took), ratio: took / compute,
             efficiency: terms.t_comp / (compute + took) / p };
  };
  let best = row(1), dominated = null;
  for (let p = 2; p <= MOST_NODES; p++) {
    const one = row(p);
    if (one.step < best.step) best = one;
    if (dominated === null && one.ratio >= 1) dominated = one;
  }
  return { row, best, dominated };
}

function bandAt(scenario, model, terms, p) {
  // The 95 % interval of S(p): every resample is scaled as its terms have been.
  const scale = (name) => (scenario[name] ? terms[name] / scenario[name] : 1);
  const found = scenario.draws.map(([a, b, g]) => model.row(p, a * scale("alpha"), b * scale("beta"), g).speedup);
  found.sort((one, other) => one - other);
  const at = (share) => {
    const place = share * (found.length - 1), low = Math.floor(place);
    return found[low] + (place - low) * (found[Math.min(low + 1, found.length - 1)] - found[low]);
  };
  return [at(0.025), at(0.975)];
}

function withUnit(value, unit) {
  const prefixes = ["p", "n", "u", "m", "", "k", "M", "G", "T"];
  if (!(value > 0)) return `0 ${unit}`;
  const power = Math.max(-4, Math.min(4, Math.floor(Math.log10(value) / 3 + 1e-12)));
  return `${Number((value / 1000 ** power).toPrecision(3))} ${prefixes[power + 4]}${unit}`;
}

if (typeof document !== "undefined") {
  const tip = document.getElementById("tip");

  // Tooltips: the nearest point of the chart under the pointer, or the next one by arrow keys.
  const show = (chart, point) => {
    chart.querySelectorAll(".on").forEach((one) => one.classList.remove("on"));
    tip.hidden = !point;
    if (!point) return;
    point.classList.add("on");
    tip.textContent = point.dataset.tip;
    const box = point.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(box.x + box.width / 2 + 12, innerWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${Math.max(4, box.y - tip.offsetHeight - 6)}px`;
  };
  const points = (chart) => [...chart.querySelectorAll(".curve:not(.off) .pt, .cell.pt")];
  const nearest = (chart, event) => {
    let found = null, least = 40 ** 2;
    for (const point of points(chart)) {
      const box = point.getBoundingClientRect();
      const aside = Math.max(box.left - event.clientX, 0, event.clientX - box.right);
      const apart = aside ** 2 + Math.max(box.top - event.clientY, 0, event.clientY - box.bottom) ** 2;
      if (apart < least) [found, least] = [point, apart];
    }
    return found;
  };
  for (const chart of document.querySelectorAll(".chart")) {
    chart.addEventListener("pointermove", (event) => show(chart, nearest(chart, event)));
    chart.addEventListener("pointerleave", () => show(chart, null));
    chart.addEventListener("blur", () => show(chart, null));
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") show(chart, null);
      if (!step) return;
      event.preventDefault();
      const all = points(chart), at = all.findIndex((one) => one.classList.contains("on"));
      show(chart, all[(at + (at < 0 && step < 0 ? 0 : step) + all.length) % all.length]);
    });
  }

  // Legends: a button hides and shows its curves.
  for (const button of document.querySelectorAll(".legend button")) {
    button.addEventListener("click", () => {
      const off = button.getAttribute("aria-pressed") === "true";
      button.setAttribute("aria-pressed", String(!off));
      const chart = button.closest("figure").querySelector(".chart");
      for (const number of button.dataset.curves.split(",")) {
        chart.querySelector(`[data-curve="${number}"]`).classList.toggle("off", off);
      }
    });
  }

  // Sliders: factors from 1/1000 to 1000 on the terms of a speedup model.
  for (const box of document.querySelectorAll(".scenario")) {
    const scenario = JSON.parse(box.dataset.scenario);
    const chart = box.closest("figure").querySelector(".chart");
    const scale = (text) => {
      const [low, high, start, end] = text.split(" ").map(Number);
      return (value) => start + (Math.log(Math.max(low, Math.min(high, value)) / low) / Math.log(high / low)) * (end - start);
    };
    const x = scale(chart.dataset.x), y = scale(chart.dataset.y);
    const sliders = [...box.querySelectorAll("input")];
    const nodes = chart.dataset.nodes.split(" ").map(Number);
    const path = (pairs) => "M" + pairs.map(([p, s]) => `${x(p).toFixed(1)} ${y(s).toFixed(1)}`).join("L");
    const update = () => {
      const terms = { gamma: scenario.gamma, bytes: scenario.bytes };
      for (const slider of sliders) {
        const name = slider.dataset.term;
        terms[name] = scenario[name] * 10 ** Number(slider.value);
        const unit = name === "bytes" ? "B" : name === "beta" && scenario.bytes !== null ? "s/B" : "s";
        const text = withUnit(terms[name], unit);
        slider.nextElementSibling.textContent = text;
        slider.setAttribute("aria-valuetext", text);
      }
      const model = speedupModel(scenario, terms), { best, dominated } = model;
      box.querySelector(".verdict").textContent =
        (best.p === MOST_NODES
          ? `p* > ${MOST_NODES}: more nodes shorten the step as far as the model is asked; communication `
          : `p* = ${best.p}, S(p*) = ${best.speedup.toFixed(2)}, efficiency ${(100 * best.efficiency).toFixed(1)} %; communication `) +
        (dominated ? `dominates from p = ${dominated.p}` : `does not dominate up to p = ${MOST_NODES}`);
      Object.assign(box.dataset, { best: best.p, speedup: best.speedup, dominated: dominated ? dominated.p : "" });
      chart.querySelector(".line").setAttribute("d", path(nodes.map((p) => [p, model.row(p).speedup])));
      chart.querySelectorAll(".line ~ .pt").forEach((point, index) => {
        const one = model.row(nodes[index]);
        point.setAttribute("y", y(one.speedup));
        point.dataset.tip = `${one.p} nodes: S = ${one.speedup.toPrecision(4)}, a step ${withUnit(one.step, "s")}`;
      });
      const band = chart.querySelector(".band");
      if (band && scenario.draws.length) {
        const ends = nodes.map((p) => [p, ...bandAt(scenario, model, terms, p)]);
        band.setAttribute("d", path([...ends.map(([p, low]) => [p, low]), ...ends.reverse().map(([p, , high]) => [p, high])]) + "Z");
      }
      const mark = chart.querySelector(".mark"), [d] = mark.getAttribute("d").match(/\s.*/);
      mark.setAttribute("d", `M${x(best.p)}${d}`);
      const note = chart.querySelector(".mark + .note");
      note.textContent = `p* = ${best.p}`;
      note.setAttribute("x", x(best.p) + (best.p > 256 ? -5 : 5));
      note.setAttribute("text-anchor", best.p > 256 ? "end" : "start");
      const region = chart.querySelector(".region"), from = dominated ? x(dominated.p) : x(MOST_NODES);
      region.setAttribute("x", from);
      region.setAttribute("width", Math.max(0, x(MOST_NODES) - from));
      chart.querySelector(".region + .note").style.visibility = dominated ? "visible" : "hidden";
    };
    sliders.forEach((slider) => slider.addEventListener("input", update));
    box.querySelector(".reset").addEventListener("click", () => {
      sliders.forEach((slider) => (slider.value = 0));
      update();
    });
    update();
  }
}

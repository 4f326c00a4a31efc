/* Arrays that a reader can touch: each <div data-lab='...'> of a page becomes grids of numbers.

   The page gives its layer and its numbers as JSON:

     arrays   {name: {axes, data}}: what the reader may edit
     ops      [{kind, in, out, ...settings}]: the maps below, first to last
     output   the array whose gradient `dy` is handed to backward (1 where it is a loss)
     mistake  {kind, op, words}: what "break it" does
     train    {parameters, rate}: weights that step downhill
     circuit  true: drawn as wires as well

   A map says for each number of its output which terms it is the sum of, and what its slopes are. Everything else
   follows from that: the chain rule, the formulas, what lights up, and which term of an answer is missing. */
"use strict";

(() => {
  // ---- numbers ------------------------------------------------------------------------------------------------

  const places = (shape) => {
    let all = [[]];
    for (const size of shape) all = all.flatMap((place) => Array.from({ length: size }, (_, i) => [...place, i]));
    return all;
  };
  const flat = (shape, place) => place.reduce((index, p, axis) => index * shape[axis] + p, 0);
  /** With so many digits after the point, and more where a small number would be left with fewer than two of its own. */
  const written = (value, digits = 4) => {
    const size = Math.abs(value);
    const places = size < 1 ? Math.max(digits, Math.min(6, 1 - Math.floor(Math.log10(size || 1)))) : digits;
    const rounded = size >= 1e9 && size < Infinity ? value.toExponential(2) : Math.round(value * 10 ** places) / 10 ** places + 0;
    return String(rounded === 0 ? 0 : rounded).replace("Infinity", "∞").replace("e+", "e").replaceAll("-", "−");
  };
  const LARGEST = 1e6; // what can be typed: squares of it, and their differences, are still told apart
  const read = (text) => {
    const [, top, bottom] = /^\s*([-−+]?(?:\d+[.,]?\d*|[.,]\d+)(?:e[-−+]?\d+)?)(?:\s*\/\s*(\d+[.,]?\d*|[.,]\d+))?\s*$/i.exec(text) || [];
    const number = (part) => Number(part.replaceAll("−", "-").replace(",", "."));
    return top === undefined ? NaN : number(top) / (bottom === undefined ? 1 : number(bottom));
  };
  const near = (a, b, tolerance = 1e-6) => Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(a), Math.abs(b));

  class Numbers {
    constructor(name, axes, shape, data) {
      Object.assign(this, { name, axes: axes.split(" ").filter(Boolean), shape, data });
    }
    at(...place) {
      return { array: this, index: flat(this.shape, place), place };
    }
    all() {
      return places(this.shape).map((place) => this.at(...place));
    }
  }
  const nested = (name, { axes, data }) => {
    const shape = [];
    for (let part = data; Array.isArray(part); part = part[0]) shape.push(part.length);
    return new Numbers(name, axes, shape, Float64Array.from([data].flat(Infinity).map(Number)));
  };
  const valueOf = (ref) => (ref.array ? ref.array.data[ref.index] : ref.number);
  const nameOf = (ref) => {
    if (!ref.array) return ref.symbol ?? written(ref.number);
    return ref.array.name + (ref.place.length ? `[${ref.place.join(", ")}]` : "");
  };
  const constant = (number, symbol) => ({ number, symbol });

  // ---- terms and slopes ---------------------------------------------------------------------------------------

  const product = (...refs) => ({
    refs,
    value: refs.reduce((value, ref) => value * valueOf(ref), 1),
    symbols: refs.map(nameOf).join(" · "),
    numbers: refs.length > 1 ? refs.map((ref) => `(${written(valueOf(ref))})`).join("") : written(valueOf(refs[0])),
  });
  const term = (refs, value, symbols, numbers) => ({ refs, value, symbols, numbers: numbers ?? written(value) });
  const slope = (to, value, symbols = written(value), refs = []) => ({ to, value, symbols, refs });
  // of a sum of products, the slope in each factor is the product of the others
  const slopesOf = (terms) =>
    terms.flatMap(({ refs }) =>
      refs.flatMap((ref, i) => {
        const others = refs.filter((_, j) => j !== i);
        if (!ref.array || ref.fixed) return [];
        return [slope(ref, others.reduce((v, other) => v * valueOf(other), 1), others.map(nameOf).join(" · ") || "1", others)];
      }),
    );
  const elementwise = (symbolic, f, gradient) => ({
    shape: (op, x) => [x.shape, x.axes],
    formula: symbolic,
    cell: (op, place, wrong, x, ...rest) => {
      const ref = x.at(...place);
      const { value, symbols } = f(op, valueOf(ref), nameOf(ref));
      return { terms: [term([ref], value, symbols)], slopes: [{ to: ref, ...gradient(op, valueOf(ref), value, wrong), refs: [] }] };
    },
  });

  const maps = {
    add: {
      shape: (op, a) => [a.shape, a.axes],
      formula: ([a, b], y) => [`${y} = ${a} + ${b}`, { [a]: `d${a} = d${y}`, [b]: `d${b} = d${y}` }],
      cell: (op, place, wrong, a, b) => {
        const terms = [product(a.at(...place)), product(b.at(...place))];
        const slopes = slopesOf(terms);
        return { terms, slopes: wrong === "without_the_straight_way" ? slopes.slice(1) : slopes };
      },
    },
    mul: {
      shape: (op, a) => [a.shape, a.axes],
      formula: ([a, b], y) => [`${y} = ${a} · ${b}`, { [a]: `d${a} = d${y} · ${b}`, [b]: `d${b} = d${y} · ${a}` }],
      cell: (op, place, wrong, a, b) => {
        const terms = [product(a.at(...place), b.at(...place))];
        const slopes = slopesOf(terms);
        // each factor's slope is the factor itself
        if (wrong === "own_factor") for (const s of slopes) Object.assign(s, slope(s.to, valueOf(s.to), nameOf(s.to), [s.to]));
        return { terms, slopes };
      },
    },
    linear: {
      shape: (op, x, w) => [[x.shape[0], w.shape[1]], ["n", "o"]],
      formula: ([x, w, b], y) => [
        `${y}[n,o] = ${b}[o] + Σ ${x}[n,i] · ${w}[i,o]`,
        {
          [x]: `d${x}[n,i] = Σ d${y}[n,o] · ${w}[i,o]`,
          [w]: `d${w}[i,o] = Σ d${y}[n,o] · ${x}[n,i]`,
          [b]: `d${b}[o] = Σ d${y}[n,o]`,
        },
      ],
      cell: (op, [n, o], wrong, x, w, b) => {
        const terms = [];
        for (let i = 0; i < x.shape[1]; i++) terms.push(product(x.at(n, i), w.at(i, o)));
        if (b) terms.push(product(b.at(o)));
        const slopes = slopesOf(terms);
        return { terms, slopes: wrong === "first_only" && n > 0 ? slopes.filter((s) => s.to.array !== w) : slopes };
      },
    },
    layer_norm: {
      shape: (op, x) => [x.shape, x.axes],
      formula: ([x, g, b], y) => [
        `${y}[n,c] = ${g}[c] · (${x}[n,c] − m) / √(v + ε) + ${b}[c]`,
        {
          [x]: `d${x} = (dz − mean(dz) − z · mean(dz · z)) / √(v + ε), dz = ${g} · d${y}`,
          [g]: `d${g}[c] = Σ d${y}[n,c] · z[n,c]`,
          [b]: `d${b}[c] = Σ d${y}[n,c]`,
        },
      ],
      cell: ({ epsilon }, [n, c], wrong, x, g, b) => {
        const row = Array.from({ length: x.shape[1] }, (_, k) => x.at(n, k));
        const mean = row.reduce((sum, ref) => sum + valueOf(ref), 0) / row.length;
        const gaps = row.map((ref) => valueOf(ref) - mean);
        const s = Math.sqrt(gaps.reduce((sum, gap) => sum + gap * gap, 0) / row.length + epsilon);
        const scale = valueOf(g.at(c));
        const z = gaps[c] / s;
        const terms = [
          term([...row, g.at(c)], scale * z, `${nameOf(g.at(c))} · (${nameOf(row[c])} − m)/√(v + ε)`, `(${written(scale)})(${written(z)})`),
          product(b.at(c)),
        ];
        // each x: straight, by the mean, by the variance
        const slopes = row.map((ref, k) => {
          const rest = wrong === "straight" ? 0 : 1 / row.length + (z * gaps[k]) / s / row.length;
          return slope(ref, (scale * ((k === c ? 1 : 0) - rest)) / s, `${nameOf(g.at(c))} · slope of z`, [...row, g.at(c)]);
        });
        slopes.push(slope(g.at(c), z, `z[${n}, ${c}]`, row), slope(b.at(c), 1, "1"));
        return { terms, slopes };
      },
    },
    conv: {
      shape: ({ stride, padding }, x, w) => [
        [x.shape[0], Math.floor((x.shape[1] + 2 * padding - w.shape[0]) / stride) + 1, w.shape[2]],
        ["n", "l", "o"],
      ],
      outside: ({ padding }, inputs) => ({ [inputs[0]]: padding }),
      formula: ([x, w, b], y) => [
        `${y}[n,l,o] = ${b ? `${b}[o] + ` : ""}Σ ${x}[n, s·l + k − p, c] · ${w}[k,c,o]`,
        {
          [x]: `d${x}[n,i,c] = Σ d${y}[n,l,o] · ${w}[i + p − s·l, c, o]`,
          [w]: `d${w}[k,c,o] = Σ d${y}[n,l,o] · ${x}[n, s·l + k − p, c]`,
          [b]: `d${b}[o] = Σ d${y}[n,l,o]`,
        },
      ],
      cell: ({ stride, padding }, [n, l, o], wrong, x, w, b) => {
        const terms = [];
        const slopes = [];
        const [taps, channels] = w.shape;
        for (let k = 0; k < taps; k++) {
          const i = stride * l + k - padding;
          for (let c = 0; c < channels; c++) {
            const inside = i >= 0 && i < x.shape[1];
            const sample = inside ? x.at(n, i, c) : { number: 0, outside: `${x.name}:${i}:${c}` };
            const made = product(sample, w.at(k, c, o));
            terms.push(made);
            slopes.push(...slopesOf([made]));
            if (inside && wrong === "reversed_taps") {
              const tap = w.at(taps - 1 - k, c, o);
              Object.assign(slopes.find((s) => s.to === sample), slope(sample, valueOf(tap), nameOf(tap), [tap]));
            }
          }
        }
        if (b) terms.push(product(b.at(o)));
        if (b) slopes.push(...slopesOf(terms.slice(-1)));
        return { terms, slopes };
      },
      // the output whose gradient is looked at
      looks: (op, [n, l, o], wrong, shape) => (wrong === "reversed_time" ? [n, shape[1] - 1 - l, o] : [n, l, o]),
    },
    conv_transpose: {
      shape: ({ stride, padding, output_padding = 0 }, x, w) => [
        [x.shape[0], (x.shape[1] - 1) * stride - 2 * padding + w.shape[0] + output_padding, w.shape[1]],
        ["n", "i", "o"],
      ],
      rows: (inputs) => ({ [inputs[1]]: 1 }), // filters side by side along the axis o, in the middle
      formula: ([x, w, b], y) => [
        `${y}[n,i,o] = ${b ? `${b}[o] + ` : ""}Σ ${w}[k,o,c] · ${x}[n,l,c], s·l + k − p = i`,
        {
          [x]: `d${x}[n,l,c] = Σ d${y}[n, s·l + k − p, o] · ${w}[k,o,c]`,
          [w]: `d${w}[k,o,c] = Σ d${y}[n, s·l + k − p, o] · ${x}[n,l,c]`,
          [b]: `d${b}[o] = Σ d${y}[n,i,o]`,
        },
      ],
      cell: ({ stride, padding }, [n, i, o], wrong, x, w, b) => {
        const terms = [];
        for (let l = 0; l < x.shape[1]; l++) {
          const k = i + padding - stride * l;
          if (k < 0 || k >= w.shape[0]) continue;
          for (let c = 0; c < x.shape[2]; c++) terms.push(product(x.at(n, l, c), w.at(k, o, c)));
        }
        if (b) terms.push(product(b.at(o)));
        const slopes = slopesOf(terms);
        if (wrong === "swapped_filters")
          for (const s of slopes)
            if (s.to.array === w) s.to = w.at(s.to.place[0], s.to.place[2], s.to.place[1]);
        return { terms, slopes };
      },
    },
    max_pool: {
      shape: ({ size }, x) => [[x.shape[0], x.shape[1] / size, x.shape[2]], ["n", "l", "c"]],
      formula: ([x], y) => [
        `${y}[n,l,c] = max over i of ${x}[n, s·l + i, c]`,
        { [x]: `d${x}[n, s·l + i, c] = mask[n, s·l + i, c] · d${y}[n,l,c]` },
      ],
      cell: ({ size }, [n, l, c], wrong, x) => {
        const window = Array.from({ length: size }, (_, i) => x.at(n, size * l + i, c));
        const values = window.map(valueOf);
        const best = Math.max(...values);
        const chosen = window[wrong === "picks_the_last" ? size - 1 : Math.max(0, values.indexOf(best))];
        const symbols = `max(${window.map(nameOf).join(", ")})`;
        return {
          terms: [term(window, best, symbols, `max(${values.map((v) => written(v)).join(", ")})`)],
          slopes: [slope(chosen, 1, "1")],
        };
      },
      // the second output: 1 at the first sample of each window that reaches the maximum
      mask: ({ size }, x) => {
        const data = new Float64Array(x.data.length);
        for (const [n, l, c] of places([x.shape[0], x.shape[1] / size, x.shape[2]])) {
          const window = Array.from({ length: size }, (_, i) => x.at(n, size * l + i, c));
          const values = window.map(valueOf);
          data[window[Math.max(0, values.indexOf(Math.max(...values)))].index] = 1;
        }
        return [x.shape, x.axes, data];
      },
    },
    unpool: {
      constants: [1],
      shape: (op, x, mask) => [mask.shape, ["n", "i", "c"]],
      formula: ([x, mask], y) => [
        `${y}[n, s·l + i, c] = ${mask}[n, s·l + i, c] · ${x}[n,l,c]`,
        { [x]: `d${x}[n,l,c] = Σ d${y}[n, s·l + i, c] · ${mask}[n, s·l + i, c]` },
      ],
      cell: ({ size }, [n, i, c], wrong, x, mask) => {
        const terms = [product(x.at(n, Math.floor(i / size), c), { ...mask.at(n, i, c), fixed: true })];
        const slopes = slopesOf(terms);
        if (wrong === "without_mask") for (const s of slopes) Object.assign(s, slope(s.to, 1, "1"));
        return { terms, slopes };
      },
    },
    average_pool: {
      shape: ({ size }, x) => [[x.shape[0], x.shape[1] / size, x.shape[2]], ["n", "l", "c"]],
      formula: ([x], y) => [
        `${y}[n,l,c] = 1/s · Σ over i of ${x}[n, s·l + i, c]`,
        { [x]: `d${x}[n, s·l + i, c] = d${y}[n,l,c] / s` },
      ],
      cell: ({ size }, [n, l, c], wrong, x) => {
        const window = Array.from({ length: size }, (_, i) => x.at(n, size * l + i, c));
        const terms = window.map((ref) => term([ref], valueOf(ref) / size, `${nameOf(ref)}/${size}`, `(${written(valueOf(ref))})/${size}`));
        const part = wrong === "copies" ? 1 : size;
        return { terms, slopes: window.map((ref) => slope(ref, 1 / part, `1/${part}`)) };
      },
    },
    dropout: {
      constants: [1],
      shape: (op, x) => [x.shape, x.axes],
      formula: ([x, mask], y) => [`${y} = ${x} · ${mask} / (1 − q)`, { [x]: `d${x} = d${y} · ${mask} / (1 − q)` }],
      cell: ({ rate }, place, wrong, x, mask) => {
        const [ref, kept] = [x.at(...place), mask.at(...place)];
        const on = valueOf(kept) ? 1 : 0;
        const symbols = `${nameOf(ref)} · ${nameOf(kept)} / ${written(1 - rate)}`;
        const factor = wrong === "unscaled" ? on : on / (1 - rate);
        return {
          terms: [term([ref, kept], (valueOf(ref) * on) / (1 - rate), symbols)],
          slopes: [slope(ref, factor, `${nameOf(kept)} / ${written(1 - rate)}`, [kept])],
        };
      },
    },
    upsample: {
      shape: ({ factor }, x) => [[x.shape[0], x.shape[1] * factor, x.shape[2]], ["n", "i", "c"]],
      formula: ([x], y) => [
        `${y}[n, f·l + i, c] = ${x}[n,l,c]`,
        { [x]: `d${x}[n,l,c] = Σ over i of d${y}[n, f·l + i, c]` },
      ],
      cell: ({ factor }, [n, i, c], wrong, x) => {
        const terms = [product(x.at(n, Math.floor(i / factor), c))];
        const slopes = slopesOf(terms);
        if (wrong === "averages") for (const s of slopes) Object.assign(s, slope(s.to, 1 / factor, `1/${factor}`));
        return { terms, slopes };
      },
    },
    fold: {
      shape: ({ size }, x) => [[x.shape[0], x.shape[1] / size, size * x.shape[2]], ["n", "l", "o"]],
      formula: ([x], y) => [
        `${y}[n, l, i·C + c] = ${x}[n, s·l + i, c]`,
        { [x]: `d${x}[n, s·l + i, c] = d${y}[n, l, i·C + c]` },
      ],
      cell: ({ size }, [n, l, o], wrong, x) => {
        const channels = x.shape[2];
        const terms = [product(x.at(n, size * l + Math.floor(o / channels), o % channels))];
        const back = x.at(n, size * l + (o % size), Math.floor(o / size));
        return { terms, slopes: wrong === "by_channels" ? [slope(back, 1, "1")] : slopesOf(terms) };
      },
    },
    elu: elementwise(
      ([x], y) => [`${y} = ${x} where ${x} > 0, else α·(exp(${x}) − 1)`, { [x]: `d${x} = d${y} · (1 where ${y} > 0, else ${y} + α)` }],
      ({ alpha = 1 }, x, name) =>
        x > 0 ? { value: x, symbols: name } : { value: alpha * Math.expm1(x), symbols: `${written(alpha)}·(exp(${name}) − 1)` },
      ({ alpha = 1 }, x, y, wrong) => {
        if (x > 0) return { value: 1, symbols: "1" };
        return wrong === "without_alpha" ? { value: y + 1, symbols: "(y + 1)" } : { value: y + alpha, symbols: "(y + α)" };
      },
    ),
    leaky_relu: elementwise(
      ([x], y) => [`${y} = ${x} where ${x} > 0, else a·${x}`, { [x]: `d${x} = d${y} · (1 where ${x} > 0, else a)` }],
      ({ slope: a }, x, name) => ({ value: x > 0 ? x : a * x, symbols: x > 0 ? name : `${written(a)}·${name}` }),
      ({ slope: a }, x, y, wrong) => {
        const positive = wrong === "sign_of_dy" ? (dy) => dy > 0 : () => x > 0;
        return { of: (dy) => (positive(dy) ? 1 : a), value: x > 0 ? 1 : a, symbols: x > 0 ? "1" : "a" };
      },
    ),
    sigmoid: elementwise(
      ([x], y) => [`${y} = 1 / (1 + exp(−${x}))`, { [x]: `d${x} = d${y} · ${y} · (1 − ${y})` }],
      (op, x, name) => ({ value: 1 / (1 + Math.exp(-x)), symbols: `1 / (1 + exp(−${name}))` }),
      (op, x, y, wrong) => {
        const out = wrong === "twice" ? 1 / (1 + Math.exp(-y)) : y;
        return { value: out * (1 - out), symbols: "y · (1 − y)" };
      },
    ),
    hard_sigmoid: elementwise(
      ([x], y) => [`${y} = min(max(0.2·${x} + 0.5, 0), 1)`, { [x]: `d${x} = 0.2 · d${y} where 0 < ${y} < 1, else 0` }],
      (op, x, name) => ({ value: Math.min(Math.max(x * 0.2 + 0.5, 0), 1), symbols: `clip(0.2·${name} + 0.5)` }),
      (op, x, y, wrong) => {
        const value = wrong === "without_ends" || (y > 0 && y < 1) ? 0.2 : 0;
        return { value, symbols: written(value) };
      },
    ),
    mse: {
      constants: [1],
      shape: () => [[], []],
      formula: ([y, t], loss) => [`${loss} = 1/n · Σ (${y} − ${t})²`, { [y]: `d${y} = 2/n · (${y} − ${t})` }],
      cell: (op, place, wrong, y, target) => {
        const n = y.data.length;
        const two = wrong === "without_the_two" ? 1 : 2;
        const terms = [];
        const slopes = [];
        for (const ref of y.all()) {
          const goal = target.at(...ref.place);
          const gap = valueOf(ref) - valueOf(goal);
          const gapSymbols = `(${nameOf(ref)} − ${nameOf(goal)})`;
          terms.push(term([ref, goal], gap ** 2 / n, `${gapSymbols}²/${n}`, `(${written(gap)})²/${n}`));
          slopes.push(slope(ref, (two * gap) / n, `${two}/${n} · ${gapSymbols}`, [ref, goal]));
        }
        return { terms, slopes };
      },
    },
    cross_entropy: {
      constants: [1],
      shape: () => [[], []],
      formula: ([x, t], loss) => [
        `${loss} = 1/n · Σ ${t}[n,c] · (log Σ exp(${x}[n,k]) − ${x}[n,c])`,
        { [x]: `d${x}[n,c] = 1/n · (p[n,c] − ${t}[n,c]), p = softmax(${x})` },
      ],
      cell: (op, place, wrong, x, target) => {
        const [n, classes] = x.shape;
        const terms = [];
        const slopes = [];
        for (let row = 0; row < n; row++) {
          const refs = Array.from({ length: classes }, (_, c) => x.at(row, c));
          const most = Math.max(...refs.map(valueOf));
          const sum = refs.reduce((total, ref) => total + Math.exp(valueOf(ref) - most), 0);
          const goals = refs.map((_, c) => target.at(row, c));
          const weight = goals.reduce((total, goal) => total + valueOf(goal), 0);
          refs.forEach((ref, c) => {
            const gap = most + Math.log(sum) - valueOf(ref);
            const goal = valueOf(goals[c]);
            const symbols = `${nameOf(goals[c])} · (log Σ exp − ${nameOf(ref)})/${n}`;
            terms.push(term([...refs, goals[c]], (goal * gap) / n, symbols, `(${written(goal)})(${written(gap)})/${n}`));
            const p = (weight * Math.exp(valueOf(ref) - most)) / sum;
            const off = wrong === "without_target" ? 0 : goal;
            slopes.push(slope(ref, (p - off) / n, `(p − ${nameOf(goals[c])})/${n}`, [...refs, goals[c]]));
          });
        }
        return { terms, slopes };
      },
    },
    adam: {
      // no backward: p, and before it m and v, step by step
      shape: (op, g) => [g.shape, g.axes],
      formula: ([g], p) => [`m̂ = m / (1 − β₁ᵗ),  v̂ = v / (1 − β₂ᵗ),  ${p} ← ${p} − η · m̂ / (√v̂ + ε)`, {}],
      cell: ({ rate, beta1, beta2, epsilon }, [weight, t], wrong, g, m, v) => {
        const hats = wrong === "without_hats" ? [1, 1] : [1 - beta1 ** (t + 1), 1 - beta2 ** (t + 1)];
        const [mean, square] = [m.at(weight, t), v.at(weight, t)];
        const step = -(rate * valueOf(mean)) / hats[0] / (Math.sqrt(valueOf(square) / hats[1]) + epsilon);
        const before = { array: op_p(m, v), index: flat(g.shape, [weight, t - 1]), place: [weight, t - 1] };
        const terms = t > 0 ? [term([before], before.array.data[before.index], nameOf(before))] : [];
        const history = Array.from({ length: t + 1 }, (_, s) => g.at(weight, s));
        terms.push(term([mean, square, ...history], step, `(−η · m̂ / (√v̂ + ε) of ${nameOf(mean)}, ${nameOf(square)})`));
        return { terms, slopes: [] };
      },
    },
    velocity: {
      shape: (op, g) => [g.shape, g.axes],
      formula: ([g], v) => [`${v} ← μ·${v} + ${g}`, {}],
      cell: ({ momentum, out }, [weight, t], wrong, g) => {
        const ref = g.at(weight, t);
        const terms = t > 0 ? [product(constant(momentum), g.lab.env[out[0]].at(weight, t - 1))] : [];
        terms.push(wrong === "running_mean" ? product(constant(1 - momentum), ref) : product(ref));
        return { terms, slopes: [] };
      },
    },
    sgd: {
      shape: (op, v) => [v.shape, v.axes],
      formula: ([v], p) => [`${p} ← ${p} − η · ${v}`, {}],
      cell: ({ rate, out }, [weight, t], wrong, v) => {
        const terms = t > 0 ? [product(v.lab.env[out[0]].at(weight, t - 1))] : [];
        terms.push(product(constant(-rate, "−η"), v.at(weight, t)));
        return { terms, slopes: [] };
      },
    },
    running_mean: {
      shape: (op, g) => [g.shape, g.axes],
      formula: ([g], m) => [`${m} ← β·${m} + (1 − β)·${g}`, {}],
      cell: ({ beta, power = 1, out }, [weight, t], wrong, g) => {
        const ref = g.at(weight, t);
        const self = g.lab.env[out[0]];
        const terms = [];
        if (t > 0) terms.push(product(constant(beta), self.at(weight, t - 1)));
        const squared = power === 2 ? "²" : "";
        const raised = valueOf(ref) ** power;
        terms.push(term([ref], (1 - beta) * raised, `${written(1 - beta)} · ${nameOf(ref)}${squared}`, `(${written(1 - beta)})(${written(raised)})`));
        return { terms, slopes: [] };
      },
    },
  };
  const op_p = (m) => m.lab.env.p;

  // ---- forward, backward, differences -------------------------------------------------------------------------

  class Network {
    constructor({ arrays, ops, output, dy, mistake = {} }) {
      this.ops = ops;
      this.mistake = mistake;
      this.output = output;
      this.leaves = Object.fromEntries(Object.entries(arrays).map(([name, spec]) => [name, nested(name, spec)]));
      this.env = {};
      this.forward(false);
      const top = this.env[output];
      this.isLoss = !dy;
      this.hasBackward = ops.every(({ kind }) => !["adam", "running_mean", "velocity", "sgd"].includes(kind));
      this.dy = dy ? nested(`d${output}`, { axes: top.axes.join(" "), data: dy }) : null;
    }

    /** Every array, each op's cells in order. */
    forward(broken) {
      this.env = { ...this.leaves };
      this.cells = {};
      for (const array of Object.values(this.env)) array.lab = this;
      this.ops.forEach((op, number) => {
        const map = maps[op.kind];
        const inputs = op.in.map((name) => this.env[name]);
        const [shape, axes] = map.shape(op, ...inputs);
        const size = shape.reduce((a, b) => a * b, 1);
        const out = new Numbers(op.out[0], axes.join(" "), shape, new Float64Array(size));
        out.lab = this;
        this.env[op.out[0]] = out;
        const wrong = broken && (this.mistake.op ?? 0) === number ? this.mistake.kind : "";
        this.cells[op.out[0]] = places(shape).map((place) => {
          const cell = { ...map.cell(op, place, wrong, ...inputs), op, place };
          cell.value = cell.terms.reduce((sum, { value }) => sum + value, 0);
          out.data[flat(shape, place)] = cell.value;
          return cell;
        });
        if (op.out[1]) {
          const [maskShape, maskAxes, data] = map.mask(op, ...inputs);
          this.env[op.out[1]] = Object.assign(new Numbers(op.out[1], maskAxes.join(" "), maskShape, data), { quiet: true });
        }
      });
    }

    /** The names whose gradient is computed, in the order of backward. */
    order() {
      if (!this.hasBackward) return [];
      const names = [];
      const waits = (name, number) => this.ops.some((op, other) => other < number && op.in.includes(name));
      for (let number = this.ops.length - 1; number >= 0; number--) {
        const op = this.ops[number];
        op.in.forEach((name, i) => {
          const isConstant = (maps[op.kind].constants || []).includes(i);
          if (!isConstant && !waits(name, number) && !names.includes(name)) names.push(name);
        });
      }
      return names;
    }

    /** Gradients: for each array its numbers, and for each number the terms that the chain rule adds up. */
    backward(broken) {
      this.forward(false);
      const gradients = {};
      const top = this.env[this.output];
      const seed = this.dy ? this.dy.data : Float64Array.of(1);
      gradients[this.output] = { data: seed, terms: null };
      const empty = (array) => ({ data: new Float64Array(array.data.length), terms: Array.from(array.data, () => []) });
      for (let number = this.ops.length - 1; number >= 0; number--) {
        const op = this.ops[number];
        const map = maps[op.kind];
        const wrong = broken && (this.mistake.op ?? 0) === number ? this.mistake.kind : "";
        const inputs = op.in.map((name) => this.env[name]);
        const out = this.env[op.out[0]];
        const incoming = gradients[op.out[0]] ?? empty(out);
        for (const place of places(out.shape)) {
          const looked = map.looks ? map.looks(op, place, wrong, out.shape) : place;
          const dOut = { name: `d${op.out[0]}`, array: out, index: flat(out.shape, looked), place: looked };
          const dValue = incoming.data[dOut.index];
          const lone = this.isLoss && op.out[0] === this.output;
          for (const { to, value, symbols, refs, of } of map.cell(op, place, wrong, ...inputs).slopes) {
            const factor = of ? of(dValue) : value;
            const gradient = (gradients[to.array.name] ??= empty(to.array));
            gradient.data[to.index] += dValue * factor;
            const dSymbol = dOut.name + (looked.length ? `[${looked.join(", ")}]` : "");
            gradient.terms[to.index].push({
              refs,
              dRef: dOut,
              value: dValue * factor,
              symbols: lone ? symbols : symbols === "1" ? dSymbol : `${dSymbol} · ${symbols}`,
              numbers: lone ? written(factor) : symbols === "1" ? written(dValue) : `(${written(dValue)})(${written(factor)})`,
            });
          }
        }
      }
      for (const name of this.order()) gradients[name] ??= empty(this.env[name]);
      return gradients;
    }

    /** What adds up to the number that backward is the gradient of: the terms of the loss, or each dy · y. */
    parts() {
      this.forward(false);
      if (!this.dy) return this.cells[this.output].flatMap(({ terms }) => terms.map(({ value }) => value));
      return Array.from(this.env[this.output].data, (value, i) => value * this.dy.data[i]);
    }

    objective() {
      return this.parts().reduce((sum, part) => sum + part, 0);
    }

    /** Slopes without a derivation, for the arrays that are given: of each number [slope, how far it may be off].

        NaN at a corner, where there is no slope, and ∞ where the numbers are too large to tell. */
    differences(name) {
      return Array.from(this.leaves[name].data, (_, i) => {
        const [slope, jump, noise] = this.difference(name, i, 1e-5);
        const limit = 0.01 * Math.max(1, Math.abs(slope));
        if (!(noise <= limit)) return [Infinity, 0];
        if (jump <= limit + noise) return [slope, jump + noise];
        const [finer, left, blur] = this.difference(name, i, 1e-6); // a bend becomes less, a corner stays
        return left > jump / 2 ? [NaN, 0] : [finer, left + blur];
      });
    }

    /** A slope, by how much it differs from the left to the right, and what rounding may do to it. */
    difference(name, i, step) {
      const { data } = this.leaves[name];
      const kept = data[i];
      const parts = (value) => {
        data[i] = value;
        return this.parts();
      };
      const [middle, above, below] = [parts(kept), parts(kept + step), parts(kept - step)];
      data[i] = kept;
      const [up, down] = [kept + step - kept, kept - (kept - step)]; // the steps as they were rounded
      let [right, left, noise] = [0, 0, 0];
      middle.forEach((part, j) => {
        // one part at a time, so that a large one that stays does not drown the others
        right += (above[j] - part) / up;
        left += (part - below[j]) / down;
        if (above[j] !== part || part !== below[j]) noise += (1e-15 * Math.max(Math.abs(above[j]), Math.abs(below[j]))) / step;
      });
      return [(right + left) / 2, Math.abs(right - left), noise];
    }
  }

  // ---- what the reader sees -----------------------------------------------------------------------------------

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  };
  const sky = (tag, attributes = {}, text = "") => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = text;
    return element;
  };

  class Lab {
    constructor(root) {
      this.root = root;
      this.spec = JSON.parse(root.dataset.lab);
      this.start();
      root.classList.add("lab");
      root.setAttribute("role", "group");
      root.setAttribute("aria-label", `Numbers to change: ${this.spec.ops.map(({ kind }) => kind.replace("_", " ")).join(", ")}`);
      this.build();
      this.update();
    }

    start() {
      this.network = new Network(this.spec);
      this.broken = false;
      this.hidden = "";
      this.answers = {};
      this.losses = [];
      this.selected = null; // {pass, name, index}
    }

    // -- structure

    build() {
      const { network } = this;
      this.elements = {}; // "forward:x:3" -> td
      this.steps = [];
      for (const op of network.ops) network.env[op.out[0]].all().forEach(({ index }) => this.steps.push(["forward", op.out[0], index]));
      for (const name of network.order()) network.env[name].all().forEach(({ index }) => this.steps.push(["backward", name, index]));
      this.time = this.steps.length;

      const outside = Object.assign({}, ...network.ops.map((op) => maps[op.kind].outside?.(op, op.in) ?? {}));
      const across = Object.assign({}, ...network.ops.map((op) => maps[op.kind].rows?.(op.in) ?? {}));
      const shown = (pass, name, options = {}) =>
        this.grids(pass, network.env[name], { outside: pass === "forward" ? outside[name] ?? 0 : 0, across: across[name] ?? 2, ...options });

      const forward = make("div", { class: "lab-grids" });
      const seen = new Set();
      for (const op of network.ops) {
        for (const name of op.in) if (!seen.has(name) && network.leaves[name]) forward.append(...shown("forward", name, { editable: true }));
        op.in.forEach((name) => seen.add(name));
        forward.append(make("span", { class: "lab-arrow", "aria-hidden": "true" }, "→"));
        for (const name of op.out) forward.append(...shown("forward", name));
        op.out.forEach((name) => seen.add(name));
      }
      const parts = [];
      if (this.spec.circuit) parts.push((this.wires = make("div", { class: "lab-circuit" })));
      parts.push(forward);
      if (network.hasBackward) {
        const backward = make("div", { class: "lab-grids" });
        if (network.dy) backward.append(...shown("backward", network.output, { editable: true }));
        backward.append(make("span", { class: "lab-arrow", "aria-hidden": "true" }, "→"));
        for (const name of network.order()) backward.append(...shown("backward", name));
        parts.push(backward);
      }
      this.formula = make("div", { class: "lab-formula", "aria-live": "polite" });
      this.check = make("div", { class: "lab-check", role: "status" });
      this.message = make("div", { class: "lab-message", role: "status" });
      this.root.replaceChildren(...parts, this.formula, this.message, this.check, this.tools());
      this.root.onkeydown = (event) => this.move(event);
    }

    /** An array as tables: rows are the last axis but one, columns the samples or taps. */
    grids(pass, array, { editable = false, outside = 0, across = 2 }) {
      const { shape, axes, name } = array;
      const title = pass === "backward" ? `d${name}` : name;
      const grid = (caption, rows, columns, place, rowName, columnName, margin = 0) => {
        const table = make("table", { class: "lab-grid", role: "grid", "aria-label": caption });
        table.append(make("caption", {}, caption));
        if (columnName) {
          const head = make("tr", {}, make("td", { class: "lab-index" }, `${columnName === "l" ? "ℓ" : columnName} =`));
          for (let j = -margin; j < columns + margin; j++) head.append(make("td", { class: "lab-index" }, written(j + (this.spec.first?.[columnName] ?? 0))));
          table.append(head);
        }
        for (let i = 0; i < rows; i++) {
          const row = make("tr", { role: "row" }, make("td", { class: "lab-index" }, rowName ? (i === 0 ? `${rowName} = 0` : String(i)) : ""));
          for (let j = -margin; j < columns + margin; j++) {
            if (j < 0 || j >= columns) {
              const zero = make("td", { class: "lab-outside" }, "0");
              this.elements[`outside:${name}:${j}:${i}`] = zero;
              row.append(zero);
              continue;
            }
            row.append(this.cell(pass, title, array.at(...place(i, j)), editable && !array.quiet, i === 0 && j === 0));
          }
          table.append(row);
        }
        return make("div", { class: "lab-scroll" }, table);
      };
      if (shape.length === 3 && axes[0] === "n")
        return [grid(`${title}[0]`, shape[2], shape[1], (i, j) => [0, j, i], axes[2], axes[1], outside)];
      if (shape.length === 3)
        return Array.from({ length: shape[across] }, (_, o) =>
          across === 2
            ? grid(`${title}[:, :, ${o}]`, shape[1], shape[0], (i, j) => [j, i, o], axes[1], axes[0])
            : grid(`${title}[:, ${o}, :]`, shape[2], shape[0], (i, j) => [j, o, i], axes[2], axes[0]),
        );
      if (shape.length === 2) return [grid(title, shape[0], shape[1], (i, j) => [i, j], axes[0], axes[1])];
      if (shape.length === 1) return [grid(title, shape[0], 1, (i) => [i], axes[0], "")];
      return [grid(title, 1, 1, () => [], "", "")];
    }

    cell(pass, title, ref, editable, isFirst) {
      const { array, index, place } = ref;
      const label = title + (place.length ? `[${place.join(", ")}]` : "");
      const td = make("td", { class: "lab-cell", role: "gridcell", "aria-label": label });
      const select = () => this.select({ pass, name: array.name, index });
      td.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && this.light({ pass, name: array.name, index }));
      td.addEventListener("pointerleave", () => this.light(this.selected));
      td.addEventListener("focusin", select);
      Object.assign(td, { pass, array, index, editable, label, isFirst }); // the first one of a grid is where Tab stops
      if (editable) td.append(this.input(td, label));
      else {
        td.tabIndex = isFirst ? 0 : -1;
        td.addEventListener("click", () => td.querySelector("input") || td.focus());
      }
      this.elements[`${pass}:${array.name}:${index}`] = td;
      return td;
    }

    input(td, label) {
      const input = make("input", { "aria-label": label, size: 3, autocomplete: "off", spellcheck: "false" });
      input.tabIndex = td.isFirst ? 0 : -1;
      input.addEventListener("focus", () => {
        this.lastInput = td;
        input.select();
      });
      input.addEventListener("input", () => this.type(td, input.value));
      input.addEventListener("blur", () => this.update());
      return input;
    }

    tools() {
      const { network, spec } = this;
      const button = (text, press, hint) => make("button", { type: "button", title: hint, onclick: press }, text);
      this.slider = make("input", { type: "range", min: 0, max: this.steps.length, value: this.time, "aria-label": "step through forward and backward" });
      this.slider.addEventListener("input", () => this.goTo(Number(this.slider.value)));
      this.clock = make("span", { class: "lab-clock" });
      const line = make("div", { class: "lab-line" }, button("◀", () => this.goTo(this.time - 1), "one number back"), this.slider,
        button("▶", () => this.goTo(this.time + 1), "the next number"), this.clock);
      const hideable = network.hasBackward ? network.order() : spec.ops.map(({ out }) => out[0]);
      const d = network.hasBackward ? "d" : "";
      this.hide = make("select", { "aria-label": "hide numbers and type your own" }, make("option", { value: "" }, "nothing"),
        ...hideable.map((name) => make("option", { value: name }, d + name)));
      this.hide.addEventListener("change", () => this.quiz(this.hide.value));
      const edit = make("div", { class: "lab-line" },
        button("−1", () => this.nudge((v) => v - 1), "the number in the chosen cell"), button("+1", () => this.nudge((v) => v + 1), "the number in the chosen cell"),
        button("±", () => this.nudge((v) => -v), "the number in the chosen cell"), button("random", () => this.random(), "other whole numbers everywhere"),
        network.dy ? button(`d${network.output} = 1`, () => this.fill(), "ones everywhere in it") : null,
        button("start again", () => this.reset(), "the numbers of the page"), make("label", {}, "hide ", this.hide));
      const lines = [line, edit];
      if (spec.mistake) {
        this.breaker = make("input", { type: "checkbox" });
        this.breaker.addEventListener("change", () => {
          this.broken = this.breaker.checked;
          this.update();
        });
        lines.push(make("label", { class: "lab-line" }, this.breaker, ` break it: ${spec.mistake.words}`));
      }
      if (spec.train) {
        this.rate = make("input", { type: "number", value: spec.train.rate, step: "any", min: 0, "aria-label": "learning rate" });
        this.curve = sky("svg", { class: "lab-curve", viewBox: "0 0 320 90", role: "img" });
        lines.push(make("div", { class: "lab-line" }, button("a step downhill", () => this.descend(1)), button("20 steps", () => this.descend(20)),
          make("label", {}, "learning rate ", this.rate)), this.curve);
      }
      return make("div", { class: "lab-tools" }, ...lines);
    }

    // -- what the reader does

    type(td, text) {
      const value = read(text);
      const input = td.querySelector("input");
      if (td.pass === "backward" && !td.editable) return this.answer(td, text, value);
      if (td.pass === "forward" && !td.editable) return this.answer(td, text, value);
      const fits = Math.abs(value) <= LARGEST;
      input.toggleAttribute("aria-invalid", !fits);
      if (!fits) {
        const needed = Number.isNaN(value) ? "a number, such as −2, 0.5 or 1/3" : "a number from −1,000,000 to 1,000,000";
        this.say(/^\s*[-−+]?\s*$/.test(text) ? "" : `${td.label}: needs ${needed}; got ${text}`, "wrong");
        return;
      }
      this.say("");
      (td.pass === "backward" ? this.network.dy : this.network.leaves[td.array.name]).data[td.index] = value;
      this.losses = [];
      this.update();
    }

    nudge(change) {
      const td = this.lastInput ?? this.elements[`forward:${Object.keys(this.network.leaves)[0]}:0`];
      if (!td.editable) return;
      const array = td.pass === "backward" ? this.network.dy : this.network.leaves[td.array.name];
      array.data[td.index] = Math.max(-LARGEST, Math.min(LARGEST, change(array.data[td.index]) || 0));
      this.lastInput = td;
      this.losses = [];
      this.select({ pass: td.pass, name: td.array.name, index: td.index });
      this.update();
    }

    random() {
      const masks = this.network.ops.filter(({ kind }) => kind === "unpool").map((op) => op.in[1]);
      for (const array of [...Object.values(this.network.leaves), this.network.dy])
        if (array && !masks.includes(array.name)) for (let i = 0; i < array.data.length; i++) array.data[i] = Math.floor(Math.random() * 7) - 3;
      this.answers = {};
      this.losses = [];
      this.update();
    }

    fill() {
      this.network.dy.data.fill(1);
      this.update();
    }

    reset() {
      this.start();
      this.lastInput = null;
      this.build();
      this.update();
    }

    descend(count) {
      const { parameters } = this.spec.train;
      const rate = this.rate.valueAsNumber;
      if (!(rate > 0)) return this.say(`learning rate: needs a number above 0; got ${this.rate.value || "none"}`, "wrong");
      this.say("");
      for (let step = 0; step < count; step++) {
        const gradients = this.network.backward(this.broken);
        if (!this.losses.length) this.losses.push(this.network.objective());
        const moved = parameters.map((name) => this.network.leaves[name].data.map((value, i) => value - rate * gradients[name].data[i]));
        if (moved.some((data) => !data.every((value) => Math.abs(value) <= LARGEST))) {
          this.say("Not taken: the next step leads beyond a million, since the learning rate is too large. Start again, with a smaller one.", "wrong");
          return this.update();
        }
        parameters.forEach((name, i) => this.network.leaves[name].data.set(moved[i]));
        this.losses.push(this.network.objective());
      }
      const [before, between, now] = this.losses.slice(-3); // it may rise once, over a hill
      if (now > between && between > before && !this.broken)
        this.say("The loss grows: the learning rate is too large. Each step lands higher on the other side of the valley.", "wrong");
      this.update();
    }

    goTo(time) {
      this.time = Math.max(0, Math.min(this.steps.length, time));
      this.slider.value = this.time;
      const [pass, name, index] = this.steps[this.time - 1] ?? [];
      this.selected = this.time && this.time < this.steps.length ? { pass, name, index } : null;
      this.update();
    }

    quiz(name) {
      this.hidden = name;
      this.answers = {};
      const pass = this.network.hasBackward ? "backward" : "forward";
      for (const td of Object.values(this.elements)) {
        if (!td.array || td.editable) continue;
        const asked = td.pass === pass && td.array.name === name;
        td.replaceChildren(...(asked ? [this.input(td, td.label)] : []));
        td.tabIndex = !asked && td.isFirst ? 0 : -1;
      }
      this.say(name ? `Type the numbers of ${pass === "backward" ? "d" : ""}${name} yourself.` : "");
      this.update();
    }

    answer(td, text, value) {
      this.answers[`${td.array.name}:${td.index}`] = text;
      const isBegun = /^\s*[-−+]?\s*$/.test(text);
      const needed = isBegun ? ["", ""] : ["", `${td.label}: needs a number, such as −2, 0.5 or 1/3; got ${text}`];
      const verdict = Number.isFinite(value) ? this.judge(td, value) : needed;
      td.dataset.verdict = verdict[0];
      this.say(verdict[1], verdict[0]);
    }

    /** Right, or wrong and in which term. */
    judge(td, typed) {
      const { terms, value } = this.explain(td.pass, td.array.name, td.index, false);
      // as a cell is rounded; of terms that are all small, two digits
      const largest = Math.max(0, ...terms.map((one) => Math.abs(one.value)));
      const close = (a, b) => Math.abs(a - b) <= Math.min(0.006, 0.051 * largest) + 1e-9;
      if (close(typed, value)) return ["right", `${td.label}: right`];
      const counted = terms.filter((one) => !close(one.value, 0));
      const wrong = (words) => ["wrong", `${td.label}: not ${written(typed)}. ${words}`];
      const missing = counted.filter((one) => close(typed, value - one.value)).map((one) => one.symbols);
      if (missing.length) return wrong(missing.length === 1 ? `The term ${missing[0]} is missing` : `A term is missing: ${missing.join(" or ")}`);
      const twice = counted.find((one) => close(typed, value + one.value));
      if (twice) return wrong(`The term ${twice.symbols} is in it twice`);
      const turned = counted.find((one) => close(typed, value - 2 * one.value));
      if (turned) return wrong(`The term ${turned.symbols} has the wrong sign`);
      if (close(typed, -value)) return wrong("All of it has the wrong sign");
      for (let i = 0; i < counted.length; i++)
        for (let j = i + 1; j < counted.length; j++)
          if (close(typed, value - counted[i].value - counted[j].value)) return wrong(`The terms ${counted[i].symbols} and ${counted[j].symbols} are missing`);
      if (this.spec.mistake) {
        const mistaken = this.explain(td.pass, td.array.name, td.index, true).value;
        if (close(typed, mistaken)) return wrong(`That is this page's common mistake: ${this.spec.mistake.words}`);
      }
      return wrong(`It is a sum of ${terms.length} ${terms.length === 1 ? "term" : "terms"}, ${counted.length} of them not 0`);
    }

    say(text, verdict = "") {
      this.message.textContent = text;
      this.message.dataset.verdict = verdict;
    }

    select(target) {
      this.selected = target;
      this.light(target);
    }

    move(event) {
      const td = event.target.closest("td.lab-cell");
      const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!td || !by) return;
      const input = event.target.tagName === "INPUT" ? event.target : null;
      // within a number that is being written, left and right are the cursor's
      const whole = input && input.selectionStart === 0 && input.selectionEnd === input.value.length;
      if (input && !whole && by[1] && input.selectionStart !== (by[1] < 0 ? 0 : input.value.length)) return;
      const rows = [...td.closest("table").rows];
      const row = rows[rows.indexOf(td.parentElement) + by[0]];
      const next = row?.cells[td.cellIndex + by[1]];
      if (!next?.classList.contains("lab-cell")) return;
      event.preventDefault();
      (next.querySelector("input") ?? next).focus();
    }

    // -- what it shows

    /** The terms and the value of one number. */
    explain(pass, name, index, broken = this.broken) {
      if (pass === "backward") {
        const gradients = this.network.backward(broken);
        const gradient = gradients[name];
        return { terms: gradient.terms?.[index] ?? [], value: gradient.data[index] };
      }
      this.network.forward(broken && !this.network.hasBackward);
      const cell = this.network.cells[name]?.[index];
      return { terms: cell?.terms ?? [], value: this.network.env[name].data[index] };
    }

    update() {
      const { network } = this;
      const gradients = network.hasBackward ? network.backward(this.broken) : {};
      network.forward(this.broken && !network.hasBackward);
      const numbers = { forward: {}, backward: {} };
      for (const [name, array] of Object.entries(network.env)) numbers.forward[name] = array.data;
      for (const [name, gradient] of Object.entries(gradients)) numbers.backward[name] = gradient.data;
      const scale = Math.max(1e-9, ...Object.values(numbers).flatMap((arrays) => Object.values(arrays).flatMap((data) => [...data].map(Math.abs)))
        .filter((size) => size < 1e4));
      const later = new Set(this.steps.slice(this.time).map((step) => step.join(":")));
      const hiddenPass = network.hasBackward ? "backward" : "forward";
      for (const [key, td] of Object.entries(this.elements)) {
        if (!td.array) continue;
        const value = numbers[td.pass][td.array.name]?.[td.index] ?? 0;
        const asked = td.pass === hiddenPass && td.array.name === this.hidden;
        const unseen = later.has(key) || (asked && !td.editable);
        const input = td.querySelector("input");
        const text = td.array.quiet ? (value ? "1" : "·") : written(value, 2);
        if (asked && !td.editable) {
          if (document.activeElement !== input) input.value = this.answers[`${td.array.name}:${td.index}`] ?? "";
          input.style.width = `max(36px, ${input.value.length + 1}ch)`;
        } else if (input) {
          if (document.activeElement !== input) {
            input.value = text; // and no longer what was not understood
            input.removeAttribute("aria-invalid");
          }
          input.style.width = `max(36px, ${input.value.length + 1}ch)`;
        } else td.textContent = later.has(key) ? "" : text;
        if (!asked) td.removeAttribute("data-verdict");
        else if (this.answers[`${td.array.name}:${td.index}`]) {
          const typed = read(this.answers[`${td.array.name}:${td.index}`]);
          td.dataset.verdict = Number.isFinite(typed) ? this.judge(td, typed)[0] : "";
        }
        if (unseen) td.removeAttribute("data-value");
        else td.dataset.value = String(value);
        td.dataset.sign = unseen ? "none" : value > 0 ? "above" : "below";
        td.style.setProperty("--share", unseen ? 0 : Math.min(1, Math.abs(value) / scale).toFixed(3));
      }
      if (this.wires) this.drawCircuit(numbers, later);
      this.drawCheck(gradients);
      this.drawCurve();
      const step = this.steps[this.time - 1];
      this.clock.textContent = this.time === this.steps.length ? `${this.steps.length} steps` : step ? `${this.time} of ${this.steps.length}, ${step[0]}` : "nothing yet";
      this.light(this.selected);
    }

    drawCheck(gradients) {
      const { network } = this;
      this.wrongCells = new Set();
      const verdicts = [];
      if (network.hasBackward) {
        for (const name of network.order().filter((name) => network.leaves[name])) {
          if (name === this.hidden) {
            verdicts.push(make("span", {}, `d${name} hidden`));
            continue;
          }
          const slopes = network.differences(name);
          const count = (which) => slopes.filter(([value]) => which(value)).length;
          const [corners, large] = [count(Number.isNaN), count((value) => value === Infinity)];
          const wrong = slopes.flatMap(([value, off], i) =>
            Number.isFinite(value) && Math.abs(value - gradients[name].data[i]) > off && !near(value, gradients[name].data[i], 1e-5) ? [i] : []);
          wrong.forEach((i) => this.wrongCells.add(`backward:${name}:${i}`));
          const left = (corners ? `, ${corners} at a corner` : "") + (large ? `, ${large} too large to tell` : "");
          const verdict = wrong.length ? "wrong" : corners + large < slopes.length ? "right" : "";
          const sign = { wrong: `✗ d${name}: ${wrong.length} of ${slopes.length} wrong`, right: `✓ d${name}`, "": `? d${name}` }[verdict];
          verdicts.push(make("span", { "data-verdict": verdict, "data-name": name }, sign + left));
        }
        network.forward(false);
      } else {
        const shown = Object.fromEntries(this.spec.ops.map(({ out }) => [out[0], [...network.env[out[0]].data]]));
        network.forward(false);
        for (const [name, data] of Object.entries(shown)) {
          const wrong = data.flatMap((value, i) => (near(value, network.env[name].data[i]) ? [] : [i]));
          wrong.forEach((i) => this.wrongCells.add(`forward:${name}:${i}`));
          verdicts.push(make("span", { "data-verdict": wrong.length ? "wrong" : "right", "data-name": name },
            wrong.length ? `✗ ${name}: ${wrong.length} of ${data.length} wrong` : `✓ ${name}`));
        }
        network.forward(this.broken);
      }
      this.check.replaceChildren(make("b", {}, network.hasBackward ? "by differences: " : "by the definition: "), ...verdicts);
      for (const [key, td] of Object.entries(this.elements)) td.classList.toggle("lab-wrong", this.wrongCells.has(key) && !td.querySelector("input"));
    }

    /** Light up what a number is made of, or, for a number that is given, what it is a part of. */
    light(target) {
      for (const td of Object.values(this.elements)) td.classList.remove("lab-on", "lab-lit", "lab-term");
      if (!target) {
        this.formula.replaceChildren(make("span", { class: "lab-hint" }, "Choose a number: it says what it is made of. Those in boxes can be changed."));
        return;
      }
      const { pass, name, index } = target;
      const td = this.elements[`${pass}:${name}:${index}`];
      if (!td) return;
      td.classList.add("lab-on");
      const { terms, value } = this.explain(pass, name, index);
      const hiddenPass = this.network.hasBackward ? "backward" : "forward";
      const asked = pass === hiddenPass && name === this.hidden;
      const op = pass === "forward" ? this.network.ops.find(({ out }) => out[0] === name) : [...this.network.ops].find((one) => one.in.includes(name));
      const rules = op ? maps[op.kind].formula(op.in, op.out[0]) : null;
      const rule = rules && (pass === "forward" ? rules[0] : rules[1][name]);
      const lines = [];
      if (rule && (pass === "backward" || !this.network.leaves[name])) lines.push(make("div", { class: "lab-rule" }, rule.replace(/\bl\b/g, "ℓ")));
      if (!terms.length) {
        this.lightOutputs(pass, name, index);
        lines.push(make("div", {}, `${td.label} = ${written(value)}`));
      } else if (asked) lines.push(make("div", {}, `${td.label} = ?`));
      else {
        terms.forEach((one, i) => this.cellsOf(one).forEach((cell) => cell.classList.add("lab-lit")));
        const row = (kind) => terms.flatMap((one, i) => {
          const span = make("span", { class: "lab-part", tabindex: kind === "symbols" ? 0 : null }, one[kind]);
          const lit = (on) => () => {
            this.cellsOf(one).forEach((cell) => cell.classList.toggle("lab-term", on));
            this.formula.querySelectorAll(`[data-part="${i}"]`).forEach((other) => other.classList.toggle("lab-term", on));
          };
          span.dataset.part = i;
          for (const [event, on] of [["pointerenter", true], ["pointerleave", false], ["focus", true], ["blur", false]]) span.addEventListener(event, lit(on));
          return i ? [" + ", span] : [span];
        });
        lines.push(make("div", {}, `${td.label} = `, ...row("symbols")), make("div", {}, " = ", ...row("numbers"), ` = ${written(value)}`));
      }
      if (this.wrongCells?.has(`${pass}:${name}:${index}`) && !asked) {
        const right = pass === "backward" ? this.network.differences(name)[index][0] : (this.network.forward(false), this.network.env[name].data[index]);
        lines.push(make("div", { "data-verdict": "wrong" }, `${pass === "backward" ? "by differences" : "by the definition"}: ${written(right)}`));
        this.network.forward(this.broken && !this.network.hasBackward);
      }
      this.formula.replaceChildren(...lines);
    }

    cellsOf({ refs, dRef }) {
      const keys = refs.map((ref) => (ref.array ? `forward:${ref.array.name}:${ref.index}` : `outside:${(ref.outside ?? "")}`));
      if (dRef) keys.push(`backward:${dRef.array.name}:${dRef.index}`);
      return keys.map((key) => this.elements[key]).filter(Boolean);
    }

    lightOutputs(pass, name, index) {
      if (pass === "backward") {
        const gradients = this.network.backward(this.broken);
        for (const other of this.network.order())
          gradients[other].terms?.forEach((terms, i) =>
            terms.some(({ dRef }) => dRef.array.name === name && dRef.index === index) && this.elements[`backward:${other}:${i}`]?.classList.add("lab-lit"));
        return;
      }
      this.network.forward(false);
      for (const [out, cells] of Object.entries(this.network.cells))
        cells.forEach(({ terms }, i) => terms.some(({ refs }) => refs.some((ref) => ref.array?.name === name && ref.index === index)) &&
          this.elements[`forward:${out}:${i}`]?.classList.add("lab-lit"));
    }

    drawCurve() {
      if (!this.curve) return;
      const losses = this.losses.length ? this.losses : [this.network.objective()];
      const last = losses.at(-1);
      const finite = losses.filter((loss) => Number.isFinite(loss) && loss < 1e6);
      const top = Math.max(...finite, 1e-9);
      const points = losses.map((loss, i) => `${30 + (280 * i) / Math.max(20, losses.length - 1)},${78 - 62 * Math.min(1, Number.isFinite(loss) ? loss / top : 1)}`);
      this.curve.replaceChildren(
        sky("title", {}, "the loss after each step"),
        sky("path", { d: "M30 8V78H312", class: "lab-axis" }),
        sky("polyline", { points: points.join(" "), class: "lab-fall" }),
        ...points.slice(-1).map((point) => sky("circle", { cx: point.split(",")[0], cy: point.split(",")[1], r: 3, class: "lab-dot" })),
        sky("text", { x: 34, y: 12, class: "lab-note" }, `loss after ${losses.length - 1} ${losses.length === 2 ? "step" : "steps"}: ${Number.isFinite(last) && Math.abs(last) < 1e6 ? written(last) : "too large to draw"}`),
      );
    }

    /** Arrays as wires between the maps, the number above and its gradient below. */
    drawCircuit(numbers, later) {
      const { network } = this;
      const depth = {};
      for (const name of Object.keys(network.leaves)) depth[name] = 0;
      network.ops.forEach((op) => (depth[op.out[0]] = 1 + Math.max(...op.in.map((name) => depth[name]))));
      const last = Math.max(...Object.values(depth));
      const inputs = Object.keys(network.leaves);
      const [wide, tall] = [118, 62];
      const row = Object.fromEntries(inputs.map((name, i) => [name, i]));
      network.ops.forEach((op) => (row[op.out[0]] = op.in.reduce((sum, name) => sum + row[name], 0) / op.in.length));
      const svg = sky("svg", { viewBox: `0 0 ${(last + 1) * wide + 8} ${inputs.length * tall + 6}`, role: "img" });
      svg.style.maxWidth = `${((last + 1) * wide + 8) * 1.3}px`;
      svg.append(sky("title", {}, "the circuit: numbers above the wires, their gradients below"));
      const x = (name) => depth[name] * wide;
      const y = (name) => row[name] * tall + tall / 2;
      const signs = { add: "+", mul: "×", mse: "mse", linear: "Σ", elu: "ELU" };
      for (const op of network.ops) {
        const out = op.out[0];
        for (const name of op.in)
          svg.append(sky("path", { d: `M${x(name) + 74} ${y(name)} L${x(out)} ${y(out)}`, class: "lab-wire" }));
        svg.append(sky("path", { d: `M${x(out)} ${y(out)} h74`, class: "lab-wire" }));
        svg.append(sky("circle", { cx: x(out) - 2, cy: y(out), r: 15, class: "lab-gate" }), sky("text", { x: x(out) - 2, y: y(out) + 5, "text-anchor": "middle", class: "lab-sign" }, signs[op.kind] ?? op.kind));
      }
      for (const name of Object.keys(depth)) {
        if (depth[name] === 0) svg.append(sky("path", { d: `M4 ${y(name)} h70`, class: "lab-wire" }));
        const middle = x(name) + (depth[name] ? 48 : 38);
        const forward = later.has(`forward:${name}:0`) ? "" : `${name} = ${written(numbers.forward[name][0], 2)}`;
        const gradient = numbers.backward[name];
        const hidden = !gradient || later.has(`backward:${name}:0`) || this.hidden === name;
        svg.append(sky("text", { x: middle, y: y(name) - 7, "text-anchor": "middle", class: "lab-up" }, forward),
          sky("text", { x: middle, y: y(name) + 19, "text-anchor": "middle", class: "lab-down" }, hidden ? "" : `d${name} = ${written(gradient[0], 2)}`));
      }
      this.wires.replaceChildren(svg);
    }
  }

  const begin = () => document.querySelectorAll("[data-lab]").forEach((root) => (root.lab = new Lab(root)));
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();

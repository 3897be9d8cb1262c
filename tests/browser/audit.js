// What is wrong with a page, as a browser lays it out: each function of `audit` returns sentences.
// Evaluated in the page by test_pages.py.
(() => {
  const shown = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const words = (element) => element.textContent.trim().replace(/\s+/g, " ").slice(0, 50);
  const named = (element) => {
    const figure = element.closest("figure, section, header, nav, footer");
    return `<${element.tagName.toLowerCase()}> ${JSON.stringify(words(element))} in ${figure?.id || figure?.className || figure?.tagName}`;
  };
  const seen = (element) => element.closest(".unseen") === null;

  // Elements that hold text of their own, and where the text stands
  const texts = () => {
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const element = walker.currentNode.parentElement;
      if (!walker.currentNode.data.trim() || !shown(element) || !seen(element)) continue;
      const range = document.createRange();
      range.selectNodeContents(walker.currentNode);
      const boxes = visible([...range.getClientRects()], element);
      if (boxes.length) found.push({ element, boxes });
    }
    return found;
  };

  // The parts of boxes that a scrolling ancestor lets be seen
  const visible = (boxes, element) => {
    for (let at = element; at && at !== document.body; at = at.parentElement) {
      const style = getComputedStyle(at);
      if (at instanceof SVGElement || (style.overflowX === "visible" && style.overflowY === "visible")) continue;
      const room = at.getBoundingClientRect();
      boxes = boxes.map((box) => {
        const [left, top] = [Math.max(box.left, room.left), Math.max(box.top, room.top)];
        return new DOMRect(left, top, Math.min(box.right, room.right) - left, Math.min(box.bottom, room.bottom) - top);
      });
    }
    return boxes.filter((box) => box.width > 0 && box.height > 0);
  };

  const fontSize = (element) => {
    const size = parseFloat(getComputedStyle(element).fontSize);
    const matrix = element instanceof SVGElement && element.getScreenCTM();
    return matrix ? size * Math.hypot(matrix.a, matrix.b) : size;
  };

  // Colours: [red, green, blue, alpha], each of 0 to 1
  const colour = (text) => {
    const numbers = (text.match(/-?[\d.]+(?:e-?\d+)?/g) || []).map(Number);
    if (text.startsWith("color(")) return [...numbers.slice(0, 3), numbers[3] ?? 1];
    return [...numbers.slice(0, 3).map((part) => part / 255), numbers[3] ?? 1];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const luminance = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  const opacity = (element, until) => {
    let product = 1;
    for (; element && element !== until; element = element.parentElement) product *= parseFloat(getComputedStyle(element).opacity);
    return product;
  };

  const background = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(colour(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), [1, 1, 1, 1]);
  };
  // What is painted in an SVG, before a text and below a point of it
  const painted = (svg, text, box) => {
    let below = background(svg);
    const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
    for (const shape of svg.querySelectorAll("path, rect, circle, use, polygon")) {
      if (text.compareDocumentPosition(shape) & Node.DOCUMENT_POSITION_FOLLOWING) break;
      const style = getComputedStyle(shape);
      if (style.fill === "none" || shape.closest("defs, clipPath") || !shape.isPointInFill) continue;
      const point = new DOMPoint(x, y).matrixTransform(shape.getScreenCTM().inverse());
      if (!shape.isPointInFill(point)) continue;
      const fill = colour(style.fill);
      fill[3] *= parseFloat(style.fillOpacity) * opacity(shape, svg);
      below = over(fill, below);
    }
    return below;
  };

  const scrolls = (element) => {
    for (let at = element.parentElement; at && at !== document.body; at = at.parentElement) {
      if (/auto|scroll|hidden/.test(getComputedStyle(at).overflowX)) return true;
    }
    return false;
  };
  const meet = (a, b, slack) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > slack && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > slack;

  const figures = () => [...document.querySelectorAll("figure svg, .card img")].filter(shown);

  window.audit = {
    // Every figure is drawn: it has a size, its text too, and nothing lies outside of it
    drawn() {
      const wrong = [];
      for (const figure of document.querySelectorAll("figure")) {
        if (![...figure.querySelectorAll("svg")].some(shown)) wrong.push(`${figure.id || words(figure)} shows no picture`);
      }
      for (const image of document.images) {
        if (!image.complete || !image.naturalWidth) wrong.push(`${image.getAttribute("src")} is broken`);
      }
      for (const picture of figures()) {
        const box = picture.getBoundingClientRect();
        if (box.width < 200 || box.height < 60) wrong.push(`${named(picture)}: ${box.width} x ${box.height}`);
        if (picture.tagName === "IMG") continue;
        const letters = [...picture.querySelectorAll("text")];
        if (!letters.length) wrong.push(`${named(picture)}: no text`);
        for (const part of letters) {
          const at = part.getBoundingClientRect();
          if (!part.textContent.trim()) continue;
          if (!(at.width > 0 && at.height > 0)) wrong.push(`${named(part)} has no size`);
          const out = Math.max(box.left - at.left, at.right - box.right, box.top - at.top, at.bottom - box.bottom);
          if (out > 5) wrong.push(`${named(part)} lies ${out.toFixed(1)} px outside`);
        }
      }
      return wrong;
    },

    // The page itself does not scroll sideways; tables and code scroll inside themselves
    sideways() {
      const width = document.documentElement.clientWidth;
      if (document.documentElement.scrollWidth <= width) return [];
      const wide = [...document.body.querySelectorAll("*")].filter((one) => one.getBoundingClientRect().right > width + 0.5 && !scrolls(one));
      return [`${document.documentElement.scrollWidth} of ${width} px wide`, ...wide.slice(0, 5).map((one) => `${named(one)} ends at ${one.getBoundingClientRect().right.toFixed(0)}`)];
    },

    small(least) {
      return texts().filter(({ element }) => fontSize(element) < least).map(({ element }) => `${named(element)}: ${fontSize(element).toFixed(1)} px`);
    },

    // Text that cannot be read against what is behind it (WCAG 2, 1.4.3)
    faint() {
      const wrong = [];
      for (const { element, boxes } of texts()) {
        const svg = element.closest("figure svg");
        const style = getComputedStyle(element);
        const below = svg ? painted(svg, element, boxes[0]) : background(element);
        const ink = colour(svg ? style.fill : style.color);
        ink[3] *= opacity(element, null);
        const size = fontSize(element);
        const large = size >= 24 || (size >= 18.66 && parseInt(style.fontWeight, 10) >= 700);
        const found = contrast(over(ink, below), below);
        if (found < (large ? 3 : 4.5)) wrong.push(`${named(element)}: ${found.toFixed(2)}`);
      }
      return wrong;
    },

    // Texts that lie on one another; letters may touch
    overlapping() {
      const wrong = [];
      const all = texts().flatMap(({ element, boxes }) => boxes.map((box) => ({ element, box })));
      all.sort((a, b) => a.box.top - b.box.top);
      all.forEach((a, i) => {
        for (let j = i + 1; j < all.length && all[j].box.top < a.box.bottom; j++) {
          const b = all[j];
          if (words(a.element) === words(b.element) || a.element.contains(b.element) || b.element.contains(a.element)) continue;
          if (meet(a.box, b.box, 3)) wrong.push(`${named(a.element)} and ${JSON.stringify(words(b.element))}`);
        }
      });
      return wrong;
    },

    // What is wider or higher than its own box, and cannot be scrolled to
    cut() {
      return [...document.body.querySelectorAll("*")]
        .filter((one) => shown(one) && seen(one) && !(one instanceof SVGElement) && one.clientWidth)
        .filter((one) => {
          const style = getComputedStyle(one);
          const sideways = one.scrollWidth > one.clientWidth + 1;
          const paper = matchMedia("print").matches;
          return (sideways && (paper ? style.overflowX !== "visible" : /hidden|clip/.test(style.overflowX))) ||
            (one.scrollHeight > one.clientHeight + 1 && (paper ? style.overflowY !== "visible" : /hidden|clip/.test(style.overflowY)));
        })
        .map((one) => `${named(one)}: ${one.scrollWidth} x ${one.scrollHeight} in ${one.clientWidth} x ${one.clientHeight}`);
    },

    folded() {
      return [...document.querySelectorAll("details")]
        .filter((one) => one.open === false && [...one.children].some((part) => part.tagName !== "SUMMARY" && !shown(part)))
        .map((one) => words(one.querySelector("summary")));
    },

    headings() {
      const levels = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].map((one) => [Number(one.tagName[1]), words(one)]);
      const wrong = levels.filter(([level], i) => level > (i ? levels[i - 1][0] + 1 : 1)).map(([level, text]) => `h${level} ${text}`);
      return levels.filter(([level]) => level === 1).length === 1 ? wrong : [...wrong, "not one h1"];
    },

    nameless() {
      const pictures = [...document.querySelectorAll("img, svg")].filter((one) => !one.closest("[aria-hidden=true]") && !one.parentElement.closest("svg"));
      const wrong = pictures.filter((one) => !(one.getAttribute("alt") || (one.getAttribute("role") === "img" && one.getAttribute("aria-label"))));
      const controls = [...document.querySelectorAll("a[href], button, summary, [role=group]")].filter((one) => !(one.textContent.trim() && (one.getAttribute("role") !== "group" || one.getAttribute("aria-label"))));
      return [...wrong, ...controls].map(named);
    },

    // How light the page is, and where the answer, with the picture beside it, ends
    paper() {
      return luminance(background(document.body));
    },
    answer() {
      scrollTo(0, 0);
      const parts = [...document.querySelectorAll(".say.first, .answer figure svg, .card:first-child")].filter(shown);
      return Math.max(...parts.map((one) => one.getBoundingClientRect().bottom));
    },

    // What the keyboard reaches, in the order of the page, as places among all elements
    focusable() {
      const controls = [...document.querySelectorAll("a[href], button, summary, [tabindex]")];
      const everything = [...document.querySelectorAll("*")];
      return controls.filter(shown).map((one) => everything.indexOf(one));
    },
    focused() {
      const at = document.activeElement;
      const style = getComputedStyle(at);
      const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
      return [at === document.body ? -1 : [...document.querySelectorAll("*")].indexOf(at), ring];
    },

    // Links within the page lead somewhere; the addresses of the others are returned by `links`
    dangling() {
      return [...document.querySelectorAll('a[href^="#"]')].map((one) => one.getAttribute("href").slice(1)).filter((id) => !document.getElementById(id));
    },
    links() {
      return [...document.querySelectorAll("a[href]")].map((one) => one.getAttribute("href")).filter((to) => !to.startsWith("#"));
    },
  };
})();

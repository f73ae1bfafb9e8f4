// What keeps people from reading a page: WCAG 2.2, 1.1.1, 1.3.1, 1.4.3, 2.4.2, 3.1.1, 4.1.2.
(() => {
  const found = [];
  if (document.documentElement.lang !== "en") found.push("the page has no language");
  if (!document.title) found.push("the page has no title");
  if (document.querySelectorAll("h1").length !== 1) found.push("not one h1");
  const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  // Any colour of CSS as red, green, blue and alpha.
  const parse = (color) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const contrast = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const behind = (element) => {
    for (let own = element; own; own = own.parentElement) {
      if (own instanceof SVGElement && own.closest(".box") && own.tagName === "text") {
        return parse(getComputedStyle(own.closest(".box").querySelector("rect")).fill);
      }
      const color = parse(getComputedStyle(own).backgroundColor);
      if (color[3] > 0.99) return color;
    }
    return [255, 255, 255, 1];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let texts = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const isText = walker.currentNode.nodeValue.trim() && !element.closest("title, desc, style, script, option, .words");
    if (!isText || !element.checkVisibility()) continue;
    texts += 1;
    const style = getComputedStyle(element);
    const own = parse(element instanceof SVGElement ? style.fill : style.color);
    const ratio = contrast(own, behind(element));
    if (ratio < 4.5) found.push(`contrast ${ratio.toFixed(2)}: ${walker.currentNode.nodeValue.trim().slice(0, 40)}`);
  }
  if (texts < 20) found.push(`only ${texts} texts were looked at`);
  for (const table of document.querySelectorAll("table")) {
    if (!table.querySelector("td")) continue;
    const heads = [...table.querySelectorAll("th")];
    if (heads.length === 0 || heads.some((head) => !head.scope)) found.push("a table whose headers have no scope");
  }
  for (const svg of document.querySelectorAll("svg")) {
    const names = (svg.getAttribute("aria-labelledby") || "").split(" ").map((id) => document.getElementById(id)?.textContent);
    if (svg.getAttribute("role") !== "img" || !names.every(Boolean)) found.push("a picture without a name");
  }
  for (const image of document.querySelectorAll("img")) if (!image.alt) found.push("an image without alt");
  for (const control of document.querySelectorAll("input, select")) {
    if (!control.labels?.length && !control.ariaLabel) found.push(`a field without a label: ${control.name}`);
  }
  for (const button of document.querySelectorAll("button")) if (!button.textContent.trim()) found.push("a button without a name");
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  if (new Set(ids).size !== ids.length) found.push("an id is there twice");
  return found;
})()

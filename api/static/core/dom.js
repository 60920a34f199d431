// The page as a function of what is known: `h` describes elements, `paint` changes what is there into what is described.
//
// Only what differs is touched, so that focus, selection, open details and what somebody has typed stay. There is no way
// to put markup in: text is text, whatever a log or a model's name contains.

const SVG = "http://www.w3.org/2000/svg";

// h("p.dim", {title: "x"}, "text", [more], null): tag with classes, attributes (`on...`: handlers; `key`: who it is
// among its siblings; true/false: with or without), children.
export function h(tag, attributes, ...children) {
  const [name, ...classes] = tag.split(".");
  const given = { ...attributes };
  if (classes.length) given.class = [...classes, given.class].filter(Boolean).join(" ");
  const key = given.key;
  delete given.key;
  return { name, key, attributes: given, children: flat(children) };
}

function flat(children) {
  return children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false && c !== "");
}

export function paint(parent, ...children) {
  const wanted = flat(children);
  const old = [...parent.childNodes];
  const keyed = new Map(old.filter((n) => n.key !== undefined).map((n) => [n.key, n]));
  const loose = old.filter((n) => n.key === undefined);
  let place = parent.firstChild;
  for (const description of wanted) {
    const node = taken(description, keyed, loose) ?? made(description, parent);
    // one that moved down is stepped over here and put where it belongs in its turn, instead of moving all after it
    if (node === place || (place && node === place.nextSibling)) place = node.nextSibling;
    else parent.insertBefore(node, place);
    fill(node, description);
    keep(node);
  }
  for (const node of old) if (!node.kept) node.remove();
  for (const node of parent.childNodes) node.kept = false;
}

function keep(node) {
  node.kept = true;
}

function taken(description, keyed, loose) {
  if (description.key !== undefined) {
    const found = keyed.get(description.key);
    return found && found.localName === description.name ? found : undefined;
  }
  const name = typeof description === "object" ? description.name : undefined;
  const at = loose.findIndex((n) => (name === undefined ? n.nodeType === Node.TEXT_NODE : n.localName === name));
  return at < 0 ? undefined : loose.splice(at, 1)[0];
}

function made(description, parent) {
  if (typeof description !== "object") return document.createTextNode("");
  const inside = description.name === "svg" || (parent.namespaceURI === SVG && parent.localName !== "foreignObject");
  const node = inside ? document.createElementNS(SVG, description.name) : document.createElement(description.name);
  node.key = description.key;
  return node;
}

function fill(node, description) {
  if (typeof description !== "object") {
    if (node.data !== String(description)) node.data = description;
    return;
  }
  const now = description.attributes;
  const before = node.described ?? {};
  for (const name in before) if (!(name in now)) set(node, name, null);
  for (const name in now) if (now[name] !== before[name]) set(node, name, now[name]);
  node.described = now;
  if (!("text" in now)) paint(node, ...description.children);
}

function set(node, name, value) {
  if (name.startsWith("on")) node[name] = value;
  else if (name === "text") node.textContent = value;
  else if (name === "checked" || name === "selected") node[name] = Boolean(value);
  else if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? "" : value);
}

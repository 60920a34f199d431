// JSON Patch (RFC 6902), as far as the server sends it: add, replace and remove by path. The old value stays as it was.

export function patched(value, operations) {
  return operations.reduce((now, { op, path, value: given }) => put(now, parts(path), op === "remove", given), value);
}

function parts(path) {
  return path === "" ? [] : path.slice(1).split("/").map((p) => p.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function put(there, [first, ...rest], removed, given) {
  if (first === undefined) return given;
  const copy = Array.isArray(there) ? [...there] : { ...there };
  if (rest.length) copy[first] = put(there[first], rest, removed, given);
  else if (removed) delete copy[first];
  else copy[first] = given;
  return copy;
}

"""`core/dom.js` by a law: whatever was there, afterwards there is what was described, and who stays is the same element."""

from __future__ import annotations

import random

from playwright.sync_api import Page

from api.routes.page import PAGE

LAW = """async ([version, lists]) => {
  const {h, paint} = await import(`/ui/${version}/core/dom.js`);
  const box = document.createElement('ul');
  let before = new Map();
  for (const keys of lists) {
    paint(box, 'some text', keys.map(k => h('li', {key: k, class: `c${k % 3}`}, `item ${k}`, k % 2 ? h('b', {}, k) : null)), keys.length > 3 && h('p', {}, 'many'));
    const found = [...box.querySelectorAll('li')];
    if (box.textContent !== 'some text' + keys.map(k => `item ${k}${k % 2 ? k : ''}`).join('') + (keys.length > 3 ? 'many' : ''))
      return `wrong: ${box.textContent} for ${keys}`;
    for (const [n, k] of keys.entries()) {
      if (before.has(k) && before.get(k) !== found[n]) return `${k} was made anew`;
      if (found[n].className !== `c${k % 3}`) return `${k} has the class ${found[n].className}`;
    }
    before = new Map(keys.map((k, n) => [k, found[n]]));
  }
  return 'held';
}"""


def test_what_is_painted_is_what_was_described(page: Page) -> None:
    dice = random.Random(3)
    lists = [dice.sample(range(12), dice.randrange(13)) for _ in range(400)]
    assert page.evaluate(LAW, [PAGE.version, lists]) == "held"


def test_text_stays_text_and_what_was_typed_stays(page: Page) -> None:
    said = page.evaluate(
        """async version => {
          const {h, paint} = await import(`/ui/${version}/core/dom.js`);
          const box = document.body.appendChild(document.createElement('div'));
          const form = (n) => paint(box, h('p', {}, `<img src=x onerror=alert(${n})>`), h('input', {value: 'first'}), h('details', {}, h('summary', {}, n)));
          form(1);
          const input = box.querySelector('input');
          input.focus(); input.value = 'typed'; box.querySelector('details').open = true;
          form(2);
          return [box.querySelectorAll('img').length, input.value, document.activeElement === input, box.querySelector('details').open, box.textContent];
        }""",
        PAGE.version,
    )
    assert said == [0, "typed", True, True, "<img src=x onerror=alert(2)>2"]


def test_a_patch_makes_of_the_old_what_the_new_is(page: Page) -> None:
    """`core/patch.js` undoes what `api.watch.patches` makes."""
    from api.watch.patches import diff

    dice = random.Random(5)

    def value(depth: int) -> object:
        if depth == 0 or dice.random() < 0.3:
            return dice.choice([None, True, 1, "x", "a/b~c", [], [1, None], 2.5])
        keys = dice.sample(["a", "b", "c/d", "e~f", "", "0"], dice.randrange(5))
        return {key: value(depth - 1) for key in keys}

    pairs = [({"s": value(3)}, {"s": value(3)}) for _ in range(200)]
    made = page.evaluate(
        """async ([version, all]) => {
          const {patched} = await import(`/ui/${version}/core/patch.js`);
          return all.map(([before, patch]) => patched(before, patch));
        }""",
        [PAGE.version, [[before, diff(before, after)] for before, after in pairs]],
    )
    assert made == [after for _, after in pairs]

// Who is in view now, as a list: age with its interval on a scale, gender with its probability,
// how long and by how many looks. Cards are kept and updated, so nothing flickers or loses focus.

const OLDEST = 90;

function el(name, className, text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

function seconds(s) {
  return s < 60 ? `${Math.floor(s)} s` : s < 3600 ? `${Math.floor(s / 60)} min` : `${Math.floor(s / 3600)} h`;
}

function makeCard() {
  const card = el("li", "person");
  const more = el("div", "more");
  const scale = el("div", "scale");
  scale.setAttribute("aria-hidden", "true");
  scale.append(el("span"));
  more.append(el("span", "sure"), scale);
  card.append(el("span", "age"), el("span", "who"), el("span", "seen"), more);
  return card;
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function fill(card, person) {
  const gender = person.female === null ? "unsure" : person.female >= 0.5 ? "female" : "male";
  const chance = person.female === null ? 0 : Math.max(person.female, 1 - person.female);
  card.className = `person ${gender}`;
  const [age, who, seen, more] = card.children;
  say(age, person.age === null ? "–" : String(Math.round(person.age)));
  if (gender === "unsure") say(who, person.answers ? "Gender unsure" : "Looking…");
  else say(who, `${gender === "female" ? "Female" : "Male"} · ${Math.min(99, Math.round(chance * 100))} % sure`);
  say(seen, seconds(person.seen_s));
  card.title = `${person.answers} ${person.answers === 1 ? "look" : "looks"} at this face so far`;
  const [sure, scale] = more.children;
  scale.hidden = person.age === null;
  if (person.age === null) {
    say(sure, "age not sure yet");
    return;
  }
  say(sure, `between ${Math.round(person.age_low)} and ${Math.round(person.age_high)}`);
  const span = scale.firstChild;
  span.style.left = `${(Math.min(person.age_low, OLDEST) / OLDEST) * 100}%`;
  span.style.width = `${Math.max(3, ((Math.min(person.age_high, OLDEST) - person.age_low) / OLDEST) * 100)}%`;
}

function keepList(list, people) {
  const old = new Map([...list.children].map((card) => [card.dataset.track, card]));
  const cards = people.map((person) => {
    const card = old.get(String(person.track)) ?? makeCard();
    card.dataset.track = person.track;
    fill(card, person);
    return card;
  });
  if (cards.length !== list.children.length || cards.some((card, i) => card !== list.children[i])) {
    list.replaceChildren(...cards);
  }
}

// `groups` is null where nobody knows who is there.
export function drawPeople(place, counter, groups) {
  if (!groups) {
    say(counter, "–");
    place.replaceChildren(el("p", "none", "No connection yet."));
    return;
  }
  const filled = groups.filter((group) => group.people.length);
  say(counter, String(filled.reduce((n, group) => n + group.people.length, 0)));
  if (!filled.length) {
    place.replaceChildren(el("p", "none", "Nobody."));
    return;
  }
  const old = new Map([...place.children].map((box) => [box.dataset.camera, box]));
  const boxes = filled.map((group) => {
    let box = old.get(group.camera);
    if (!box) {
      box = el("div", "group");
      box.dataset.camera = group.camera;
      box.append(el("h3", "", group.camera), el("ul", "people"));
    }
    box.firstChild.hidden = groups.length < 2;
    keepList(box.lastChild, group.people);
    return box;
  });
  if (boxes.length !== place.children.length || boxes.some((box, i) => box !== place.children[i])) {
    place.replaceChildren(...boxes);
  }
}

// List of people in view: age with its interval on a scale, gender with its probability, dwell time
// and number of predictions. Cards are reused and updated in place, so nothing flickers or loses focus.

const MAX_AGE_YEARS = 90; // right end of the scale

function createElement(name, className, text = "") {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.textContent = text;
  return element;
}

function formatDuration(s) {
  return s < 60 ? `${Math.floor(s)} s` : s < 3600 ? `${Math.floor(s / 60)} min` : `${Math.floor(s / 3600)} h`;
}

function createCard() {
  const card = createElement("li", "person");
  const details = createElement("div", "details");
  const scale = createElement("div", "scale");
  scale.setAttribute("aria-hidden", "true");
  scale.append(createElement("span"));
  details.append(createElement("span", "interval"), scale);
  card.append(createElement("span", "age"), createElement("span", "gender"), createElement("span", "dwell"), details);
  return card;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function updateCard(card, person) {
  const { female_probability: female, predictions } = person;
  const gender = female === null ? "unknown" : female >= 0.5 ? "female" : "male";
  const probability = female === null ? 0 : Math.max(female, 1 - female);
  card.className = `person ${gender}`;
  const [ageNode, genderNode, dwellNode, details] = card.children;
  setText(ageNode, person.age === null ? "–" : String(Math.round(person.age)));
  if (gender === "unknown") setText(genderNode, predictions ? "Gender unknown" : "Analyzing…");
  else setText(genderNode, `${gender === "female" ? "Female" : "Male"} · ${Math.min(99, Math.round(probability * 100))}%`);
  setText(dwellNode, formatDuration(person.dwell_s));
  card.title = `${predictions} ${predictions === 1 ? "prediction" : "predictions"}`;
  const [intervalNode, scale] = details.children;
  scale.hidden = person.age === null;
  if (person.age === null) {
    setText(intervalNode, "Estimating age…");
    return;
  }
  setText(intervalNode, `between ${Math.round(person.age_low)} and ${Math.round(person.age_high)}`);
  const bar = scale.firstChild;
  bar.style.left = `${(Math.min(person.age_low, MAX_AGE_YEARS) / MAX_AGE_YEARS) * 100}%`;
  bar.style.width = `${Math.max(3, ((Math.min(person.age_high, MAX_AGE_YEARS) - person.age_low) / MAX_AGE_YEARS) * 100)}%`;
}

function updateList(list, people) {
  const existing = new Map([...list.children].map((card) => [card.dataset.track, card]));
  const cards = people.map((person) => {
    const card = existing.get(String(person.track_id)) ?? createCard();
    card.dataset.track = person.track_id;
    updateCard(card, person);
    return card;
  });
  if (cards.length !== list.children.length || cards.some((card, i) => card !== list.children[i])) {
    list.replaceChildren(...cards);
  }
}

// `groups` holds the people of each camera; null until the server has sent them.
export function drawPeople(container, counter, groups) {
  if (!groups) {
    setText(counter, "–");
    container.replaceChildren(createElement("p", "muted", "Connecting…"));
    return;
  }
  const filled = groups.filter((group) => group.people.length);
  setText(counter, String(filled.reduce((n, group) => n + group.people.length, 0)));
  if (!filled.length) {
    container.replaceChildren(createElement("p", "muted", "No one in view"));
    return;
  }
  const existing = new Map([...container.children].map((node) => [node.dataset.camera, node]));
  const nodes = filled.map((group) => {
    let node = existing.get(group.camera);
    if (!node) {
      node = createElement("div", "group");
      node.dataset.camera = group.camera;
      node.append(createElement("h3", "", group.camera), createElement("ul", "people"));
    }
    node.firstChild.hidden = groups.length < 2;
    updateList(node.lastChild, group.people);
    return node;
  });
  if (nodes.length !== container.children.length || nodes.some((node, i) => node !== container.children[i])) {
    container.replaceChildren(...nodes);
  }
}

// Keeps a page alive. Without it everything can be done; it only does not change by itself.
(() => {
  'use strict';
  const spans = [[86400, 'd'], [3600, 'h'], [60, 'm'], [1, 's']];

  // span writes seconds in its two largest units: 1h5m, 42s.
  const span = (seconds) => {
    let rest = Math.max(0, Math.round(seconds)), out = [];
    for (const [size, unit] of spans) {
      if (rest >= size || (size === 1 && out.length === 0)) {
        out.push(Math.floor(rest / size) + unit);
        rest %= size;
      }
      if (out.length === 2) break;
    }
    return out.join('');
  };

  const tick = (page) => {
    const now = Date.now();
    for (const clock of page.querySelectorAll('time[data-until]')) {
      const left = (Date.parse(clock.dataset.until) - now) / 1000;
      clock.textContent = left > 0 ? span(left) + ' left, until ' + clock.dataset.until : 'time is up';
    }
    for (const clock of page.querySelectorAll('time[data-since]')) {
      clock.textContent = span((now - Date.parse(clock.dataset.since)) / 1000) + ' ago';
      clock.title = clock.dataset.since;
    }
    for (const bar of page.querySelectorAll('progress[data-until]')) {
      const from = Date.parse(bar.dataset.from), until = Date.parse(bar.dataset.until);
      bar.value = until > from ? Math.min(1, Math.max(0, (now - from) / (until - from))) : 1;
    }
  };

  const stale = document.getElementById('stale');
  const say = (text) => { if (stale.textContent !== text) stale.textContent = text; };

  // inUse tells that somebody writes there, or that something is written which the page
  // as it is now does not have: nothing of that is thrown away.
  const inUse = (part, now) => part.contains(document.activeElement) && document.activeElement !== part ||
    [...part.querySelectorAll('input:not([type=hidden]), select, textarea')].some((field) => {
      const fresh = now.querySelector('#' + CSS.escape(field.id));
      return field.value !== (fresh ? fresh.value : '');
    });

  // take puts what is new into the page, part by part, and keeps the focus where it is.
  const take = (fresh) => {
    const was = document.querySelector('[data-shown]'), is = fresh.querySelector('[data-shown]');
    // A decision is on what was shown, which does not change under the eyes of who decides.
    if (was && is && was.dataset.shown !== is.dataset.shown) {
      say('What is asked for has changed since it was shown here. Load the page again to see it.');
      return;
    }
    tick(fresh);
    tick(document);
    for (const part of document.querySelectorAll('[data-live]')) {
      const now = fresh.getElementById(part.id);
      if (!now) continue;
      const open = [...part.querySelectorAll('details[open] > summary')].map((summary) => summary.textContent);
      for (const summary of now.querySelectorAll('summary')) {
        if (open.includes(summary.textContent)) summary.parentElement.open = true;
      }
      if (now.isEqualNode(part)) continue;
      if ('keep' in part.dataset && inUse(part, now)) {
        say('Something here has changed. Load the page again to see it.');
        continue;
      }
      const focused = part.contains(document.activeElement) ? document.activeElement : null;
      const href = focused && (focused.getAttribute('href') || focused.getAttribute('formaction') || focused.textContent);
      part.replaceChildren(...now.childNodes);
      if (focused) {
        const again = [...part.querySelectorAll('a, button')].find((e) => (e.getAttribute('href') || e.getAttribute('formaction') || e.textContent) === href);
        (again || document.getElementById('main')).focus({preventScroll: true});
      }
    }
    document.title = fresh.title;
  };

  // Nothing moves away under a finger that is down.
  let asking = false, again = false, down = false;
  addEventListener('pointerdown', () => { down = true; }, true);
  for (const end of ['pointerup', 'pointercancel']) {
    addEventListener(end, () => { down = false; if (again) setTimeout(refresh); }, true);
  }
  const refresh = async () => {
    if (asking || down) { again = true; return; }
    again = false;
    asking = true;
    try {
      const address = new URL(document.body.dataset.page || location.href, location.href);
      address.searchParams.delete('said');
      const answer = await fetch(address, {redirect: 'error'});
      if (down) {
        again = true;
      } else if (answer.ok) {
        take(new DOMParser().parseFromString(await answer.text(), 'text/html'));
      } else if (answer.status === 403) {
        say('This page is closed. Start kubectl access ui again.');
      }
    } catch {
      say('kubectl access ui does not answer: it has ended, or this machine was asleep.');
    } finally {
      asking = false;
      if (again && !down) refresh();
    }
  };

  // A stream is open only while somebody looks: a browser has six connections to one
  // server, and each tab would take one.
  let stream = null;
  const listen = () => {
    if (document.hidden) {
      if (stream) stream.close();
      stream = null;
      return;
    }
    if (stream || !document.querySelector('[data-live]')) return;
    stream = new EventSource(document.body.dataset.events);
    stream.addEventListener('changed', refresh);
    stream.addEventListener('open', () => { say(''); refresh(); });
    stream.addEventListener('error', () => {
      say('kubectl access ui does not answer: it has ended, or this machine was asleep.');
      if (stream && stream.readyState === EventSource.CLOSED) stream = null;
    });
  };

  document.addEventListener('visibilitychange', listen);
  tick(document);
  setInterval(() => tick(document), 1000);
  listen();
})();

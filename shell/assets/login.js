// Who is logged in. Tokens stay in memory: a reload asks for the password again, and no script of another page finds them.

const $ = (id) => document.getElementById(id);
let access = null, refresh = null, renewing = null, waiting = null;

const post = (path, body) => fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal: AbortSignal.timeout(8_000) });

function keep(tokens) {
  access = tokens.access_token;
  refresh = tokens.refresh_token;
}

// One at a time: a refresh token works once, and using it twice ends the session.
async function renew() {
  if (refresh !== null) {
    const answer = await post("/api/auth/refresh", { refresh_token: refresh });
    if (answer.ok) return keep(await answer.json());
    if (answer.status !== 401) throw new Error((await answer.json()).message);
  }
  access = refresh = null;
  $("login").hidden = false;
  $("logout").hidden = true;
  $("user").focus();
  await (waiting ??= new Promise((done) => { $("login").done = done; }));
  waiting = null;
}

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("login-error").textContent = "";
  try {
    const answer = await post("/api/auth/login", { user_id: $("user").value, password: $("password").value });
    const data = await answer.json();
    if (!answer.ok) throw new Error(data.message);
    keep(data);
    $("password").value = "";
    $("login").hidden = true;
    $("logout").hidden = false;
    $("login").done?.();
  } catch (error) {
    $("login-error").textContent = error.message;
    $("password").select();
  }
});

$("logout").addEventListener("click", async () => {
  await post("/api/auth/logout", { refresh_token: refresh }).catch(() => {});
  location.reload();
});

// fetch, as whoever is logged in; asks for a login when the server wants one.
export async function authorised(path, options = {}) {
  for (;;) {
    const used = access, headers = { ...options.headers, ...(used === null ? {} : { Authorization: `Bearer ${used}` }) };
    const answer = await fetch(path, { ...options, headers, signal: AbortSignal.timeout(8_000) });
    if (answer.status !== 401) return answer;
    if (access === used) await (renewing ??= renew().finally(() => { renewing = null; }));
  }
}

// What a stream's address needs: EventSource sends no header, so a ticket that works once stands for the token.
export async function streamAddress(address) {
  if (access === null) return address;
  const answer = await authorised("/api/stream/ticket", { method: "POST" });
  if (!answer.ok) throw new Error((await answer.json()).message);
  const { ticket } = await answer.json();
  return `${address}${address.includes("?") ? "&" : "?"}ticket=${ticket}`;
}

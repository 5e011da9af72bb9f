//! The two pages: choosing somebody, and what went wrong. Plain HTML that works without a script.

use super::DevIdentity;

const STYLE: &str = "
:root { color-scheme: light dark; --bg: #f4f5f7; --card: #fff; --text: #16191f; --soft: #586070; --line: #d9dde4;
  --accent: #2451d6; --on-accent: #fff; --wash: #edf1fd; --warn: #a3321b; }
@media (prefers-color-scheme: dark) {
  :root { --bg: #101319; --card: #191d25; --text: #eceff4; --soft: #a2abba; --line: #323947; --accent: #8aa8ff;
    --on-accent: #0d1324; --wash: #222b44; --warn: #ff9d87; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 24px 16px; background: var(--bg);
  color: var(--text); font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; }
main { width: 100%; max-width: 420px; padding: 28px; background: var(--card); border: 1px solid var(--line);
  border-radius: 14px; }
h1 { margin: 0 0 4px; font-size: 1.35rem; line-height: 1.25; }
p { margin: 0 0 20px; color: var(--soft); }
p.problem { color: var(--warn); }
code { font: .9em ui-monospace, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
ul { list-style: none; margin: 0; padding: 0; display: grid; gap: 8px; }
button { font: inherit; cursor: pointer; border-radius: 10px; }
button:focus-visible, input:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.person { width: 100%; display: grid; grid-template-columns: 40px 1fr; gap: 12px; align-items: center;
  padding: 10px 12px; text-align: left; color: inherit; background: none; border: 1px solid var(--line); }
.person:hover, .person.hinted { background: var(--wash); border-color: var(--accent); }
.initial { width: 40px; height: 40px; display: grid; place-items: center; border-radius: 50%; font-weight: 600;
  background: var(--wash); color: var(--accent); }
.person b, .person small { display: block; overflow-wrap: anywhere; }
.person small { color: var(--soft); font-size: .875rem; }
h2 { margin: 24px 0 12px; padding-top: 20px; border-top: 1px solid var(--line); font-size: 1rem; }
label { display: block; margin-bottom: 12px; font-size: .9rem; font-weight: 600; }
input { display: block; width: 100%; margin-top: 4px; padding: 9px 11px; font: inherit; color: inherit;
  background: var(--bg); border: 1px solid var(--line); border-radius: 10px; }
.go { width: 100%; padding: 10px; font-weight: 600; color: var(--on-accent); background: var(--accent);
  border: 1px solid var(--accent); }
footer { margin-top: 20px; color: var(--soft); font-size: .85rem; }
";

/// Everything between `<` and `>` that did not come from us.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
}

/// The sign-in page. `query` is the authorisation request, which the form repeats. `hint` preselects a suggested
/// person or fills in the address; `refused_name` is set when the address in `hint` was typed and is not one.
pub(super) fn choice(
    identities: &[DevIdentity],
    query: &str,
    client_id: &str,
    hint: Option<&str>,
    refused_name: Option<&str>,
) -> String {
    let hint = hint.unwrap_or_default().trim();
    let hinted = identities.iter().position(|person| person.email.eq_ignore_ascii_case(hint));
    let people: String = identities
        .iter()
        .enumerate()
        .map(|(index, person)| {
            let (class, focus) = if hinted == Some(index) { (" hinted", " autofocus") } else { ("", "") };
            let (name, email) = (escape(&person.name), escape(&person.email));
            let initial = escape(&person.name.chars().take(1).collect::<String>());
            format!(
                "<li><button class=\"person{class}\" name=\"email\" value=\"{email}\"{focus}>\
                 <span class=\"initial\" aria-hidden=\"true\">{initial}</span>\
                 <span><b>{name}</b><small>{email}</small></span></button></li>\n"
            )
        })
        .collect();
    let problem = match refused_name {
        Some(_) => "<p class=\"problem\" role=\"alert\">That is not an e-mail address.</p>\n",
        None => "",
    };
    let typed = if hinted.is_some() { String::new() } else { escape(hint) };
    let focus = if typed.is_empty() && refused_name.is_none() { "" } else { " autofocus" };
    let (client, action) = (escape(client_id), escape(query));
    let name = escape(refused_name.unwrap_or_default());
    document(
        "Sign in – development",
        &format!(
            "<h1>Who do you want to be?</h1>\n<p>Development sign-in for <code>{client}</code></p>\n\
             <form method=\"post\" action=\"?{action}\">\n<ul>\n{people}</ul>\n</form>\n\
             <h2>Somebody else</h2>\n{problem}\
             <form method=\"post\" action=\"?{action}\">\n\
             <label>Name <input name=\"name\" value=\"{name}\" maxlength=\"100\" autocomplete=\"off\"></label>\n\
             <label>E-mail <input name=\"email\" type=\"email\" value=\"{typed}\" maxlength=\"254\" required \
             autocomplete=\"off\"{focus}></label>\n<button class=\"go\">Continue</button>\n</form>\n\
             <footer>No password is asked for. This issuer runs on this computer only.</footer>"
        ),
    )
}

/// A request that cannot be answered to the client.
pub(super) fn problem(description: &str) -> String {
    let body = format!(
        "<h1>This sign-in cannot go on</h1>\n<p class=\"problem\" role=\"alert\">{}</p>\n\
         <footer>The link that led here is wrong. Go back to the application and start again.</footer>",
        escape(description)
    );
    document("Sign-in problem – development", &body)
}

//! A browser without a window, and `hxb`, the program that needs one to sign in.
//!
//! It keeps cookies by the rules that matter here (`__Host-`, `Secure`, `Max-Age`), follows redirects, and reads just
//! enough HTML to press a link or a button. On our sign-in page it chooses the development issuer; there it is whoever
//! the test says. A program that asks to be let in it lets in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, bail, ensure};
use reqwest::Method;
use reqwest::header::{COOKIE, LOCATION, ORIGIN};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;
use url::Url;

use crate::http::{self, Answer};

/// A redirect loop is longer.
const MOST_STEPS: usize = 20;
/// What `hxb login --no-browser` and `--device` write before the address.
const OPEN_THIS: &str = "Open this address to sign in: ";

/// The example of RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const REDIRECT_URI: &str = "http://127.0.0.1:9/callback";

/// What the token endpoint gave.
#[derive(Debug, Clone, Deserialize)]
pub struct Tokens {
    /// For the API, or for the workspace's API server.
    pub access_token: String,
    /// For the next tokens.
    #[serde(default)]
    pub refresh_token: Option<String>,
    /// Who signed in.
    #[serde(default)]
    pub id_token: Option<String>,
    /// Seconds that the access token lives.
    pub expires_in: i64,
}

/// A page, where the redirects ended.
#[derive(Debug, Clone)]
pub struct Page {
    /// Its address.
    pub url: Url,
    /// The answer.
    pub answer: Answer,
}

#[derive(Debug)]
struct Cookie {
    value: String,
    secure: bool,
}

/// One browser of one person.
#[derive(Debug)]
pub struct Browser {
    client: reqwest::Client,
    // By host, as browsers do: cookies do not know ports.
    cookies: Mutex<BTreeMap<(String, String), Cookie>>,
}

impl Browser {
    /// A browser without cookies, which trusts this authority for `https`.
    pub fn new(authority_pem: &str) -> anyhow::Result<Self> {
        Ok(Self { client: http::client(Some(authority_pem))?, cookies: Mutex::default() })
    }

    /// A browser in which the person with this address has signed in at `server_url`.
    pub async fn sign_in(authority_pem: &str, server_url: &str, email: &str) -> anyhow::Result<Self> {
        let browser = Self::new(authority_pem)?;
        let page = browser.open_signed_in(&format!("{}/sign-in", server_url.trim_end_matches('/')), email).await?;
        page.answer.expect(200)?;
        Ok(browser)
    }

    /// The value of a cookie.
    pub fn cookie(&self, host: &str, name: &str) -> Option<String> {
        let cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        cookies.get(&(host.to_owned(), name.to_owned())).map(|cookie| cookie.value.clone())
    }

    /// Plants a cookie, as an attacker would.
    pub fn set_cookie(&self, host: &str, name: &str, value: &str) {
        let cookie = Cookie { value: value.to_owned(), secure: true };
        let mut cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        cookies.insert((host.to_owned(), name.to_owned()), cookie);
    }

    fn cookie_header(&self, url: &Url) -> String {
        let cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        let fits =
            |host: &str, cookie: &Cookie| Some(host) == url.host_str() && (!cookie.secure || url.scheme() == "https");
        let sent = cookies.iter().filter(|((host, _), cookie)| fits(host, cookie));
        sent.map(|((_, name), cookie)| format!("{name}={}", cookie.value)).collect::<Vec<_>>().join("; ")
    }

    fn keep(&self, url: &Url, answer: &Answer) -> anyhow::Result<()> {
        let host = url.host_str().unwrap_or_default();
        let mut cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        for line in answer.set_cookies() {
            let mut parts = line.split(';').map(str::trim);
            let (name, value) =
                parts.next().and_then(|pair| pair.split_once('=')).context("a cookie without a name")?;
            let attributes: Vec<String> = parts.map(str::to_ascii_lowercase).collect();
            let has = |attribute: &str| attributes.iter().any(|one| one == attribute);
            let scoped = attributes.iter().any(|attribute| attribute.starts_with("domain="));
            if name.starts_with("__Host-") {
                ensure!(has("secure") && has("path=/") && !scoped, "a browser refuses the cookie {line}");
            }
            let key = (host.to_owned(), name.to_owned());
            let past = attributes.iter().any(|attribute| attribute.starts_with("expires=thu, 01 jan 1970"));
            if has("max-age=0") || past {
                cookies.remove(&key);
            } else {
                cookies.insert(key, Cookie { value: value.to_owned(), secure: has("secure") });
            }
        }
        Ok(())
    }

    /// A request with this browser's cookies, to be changed by `with` before it is sent; follows nothing.
    pub async fn request(
        &self,
        method: Method,
        url: &Url,
        with: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> anyhow::Result<Answer> {
        let mut request = self.client.request(method, url.clone());
        let cookies = self.cookie_header(url);
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies);
        }
        let response = with(request).send().await.with_context(|| format!("opening {url}"))?;
        let answer = Answer::read(response).await?;
        self.keep(url, &answer)?;
        Ok(answer)
    }

    /// GET of one address; follows nothing.
    pub async fn get(&self, url: &Url) -> anyhow::Result<Answer> {
        self.request(Method::GET, url, |request| request).await
    }

    /// A form sent from a page of the same site.
    pub async fn post(&self, url: &Url, form: &[(String, String)]) -> anyhow::Result<Answer> {
        let origin = url.origin().ascii_serialization();
        self.request(Method::POST, url, |request| request.header(ORIGIN, origin).form(form)).await
    }

    /// Opens an address, follows redirects, signs in as `email` where it is asked to, and returns the page it ends at.
    pub async fn open_signed_in(&self, url: &str, email: &str) -> anyhow::Result<Page> {
        let (url, answer) = self.walk(Url::parse(url)?, email, |_| false).await?;
        Ok(Page { url, answer: answer.context("the walk ended early")? })
    }

    /// As [`Self::open_signed_in`], but ends where it is sent to an address that begins with `end`, without opening it.
    pub async fn open_signed_in_until(&self, url: &str, email: &str, end: &str) -> anyhow::Result<Url> {
        let (url, answer) = self.walk(Url::parse(url)?, email, |url| url.as_str().starts_with(end)).await?;
        match answer {
            None => Ok(url),
            Some(answer) => bail!("the browser ended at {url} with {}: {}", answer.status, answer.text),
        }
    }

    async fn walk(
        &self,
        mut url: Url,
        email: &str,
        end: impl Fn(&Url) -> bool,
    ) -> anyhow::Result<(Url, Option<Answer>)> {
        let mut answer = self.get(&url).await?;
        for _ in 0..MOST_STEPS {
            if let Some(next) = next_location(&url, &answer)? {
                url = next;
                if end(&url) {
                    return Ok((url, None));
                }
                answer = self.get(&url).await?;
            } else if let Some(start) = development_issuer(&url, &answer.text)? {
                url = start;
                answer = self.get(&url).await?;
            } else if let Some(form) = forms(&answer.text).into_iter().find(|form| form.has("email")) {
                url = url.join(&form.action)?;
                answer = self
                    .post(&url, &[("email".to_owned(), email.to_owned()), ("name".to_owned(), String::new())])
                    .await?;
            } else if let Some(form) = forms(&answer.text).into_iter().find(|form| form.has("confirm")) {
                (url, answer) = self.press(&url, form, "confirm", "continue").await?;
            } else {
                return Ok((url, Some(answer)));
            }
        }
        bail!("the redirects do not end; the last one led to {url}")
    }

    /// Signs in as a program does, with the authorisation code flow at the issuer, as the client `client_id`.
    pub async fn tokens(&self, issuer: &str, client_id: &str, email: &str) -> anyhow::Result<Tokens> {
        let mut url = Url::parse(&format!("{issuer}/authorize"))?;
        url.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", client_id),
            ("redirect_uri", REDIRECT_URI),
            ("scope", "openid profile email offline_access"),
            ("state", "from-the-test-browser"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ]);
        let back = self.open_signed_in_until(url.as_str(), email, REDIRECT_URI).await?;
        let pairs: BTreeMap<_, _> = back.query_pairs().into_owned().collect();
        let code = pairs.get("code").with_context(|| format!("there is no code in {back}"))?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("client_id", client_id),
            ("code_verifier", VERIFIER),
        ];
        let response = self.client.post(format!("{issuer}/token")).form(&form).send().await?;
        Answer::read(response).await?.expect(200)?.parse()
    }

    /// Opens the address that a device shows, signs in as `email` where asked, and agrees or refuses.
    pub async fn decide_device(&self, url: &str, email: &str, agree: bool) -> anyhow::Result<Page> {
        let asked = self.open_signed_in(url, email).await?;
        let form = forms(&asked.answer.text).into_iter().find(|form| form.has("decision"));
        let form =
            form.with_context(|| format!("there is nothing to decide at {}: {}", asked.url, asked.answer.text))?;
        let (url, answer) = self.press(&asked.url, form, "decision", if agree { "agree" } else { "refuse" }).await?;
        Ok(Page { url, answer })
    }

    /// Presses one of the buttons called `button` on the page at `url`, whose HTML this is; follows nothing.
    pub async fn press_button(&self, url: &Url, html: &str, button: &str, value: &str) -> anyhow::Result<Answer> {
        let form = forms(html).into_iter().find(|form| form.has(button));
        let form = form.with_context(|| format!("there is no button {button} at {url}: {html}"))?;
        Ok(self.press(url, form, button, value).await?.1)
    }

    async fn press(&self, page: &Url, form: Form, button: &str, value: &str) -> anyhow::Result<(Url, Answer)> {
        let url = page.join(&form.action)?;
        let pressed = (button.to_owned(), value.to_owned());
        let hidden = form.fields.into_iter().filter(|(name, _)| name != button);
        let answer = self.post(&url, &hidden.chain([pressed]).collect::<Vec<_>>()).await?;
        Ok((url, answer))
    }
}

/// Where the answer sends the browser.
fn next_location(url: &Url, answer: &Answer) -> anyhow::Result<Option<Url>> {
    match (answer.status, answer.headers.get(LOCATION)) {
        (302 | 303, Some(location)) => Ok(Some(url.join(location.to_str()?)?)),
        (301 | 302 | 303 | 307 | 308, _) => bail!("a redirect that this browser does not follow: {answer:?}"),
        _ => Ok(None),
    }
}

fn development_issuer(url: &Url, html: &str) -> anyhow::Result<Option<Url>> {
    let links =
        tags(html).into_iter().filter(|tag| tag.name == "a").filter_map(|mut tag| tag.attributes.remove("href"));
    let start = links.into_iter().find(|link| link.starts_with("/auth/development/start"));
    Ok(start.map(|link| url.join(&link)).transpose()?)
}

struct Tag {
    name: String,
    attributes: BTreeMap<String, String>,
}

/// Every opening tag with its quoted attributes; good enough for pages of our own.
fn tags(html: &str) -> Vec<Tag> {
    let mut found = Vec::new();
    for part in html.split('<').skip(1) {
        let (name, mut rest) = part.split_at(part.find([' ', '>', '\n']).unwrap_or(part.len()));
        let mut attributes = BTreeMap::new();
        while let Some((before, after)) = rest.split_once("=\"") {
            if before.contains('>') {
                break;
            }
            let Some((value, after)) = after.split_once('"') else { break };
            let attribute = before.rsplit([' ', '\n']).next().unwrap_or_default();
            attributes.insert(attribute.to_owned(), unescape(value));
            rest = after;
        }
        found.push(Tag { name: name.to_owned(), attributes });
    }
    found
}

fn unescape(text: &str) -> String {
    let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    pairs.iter().fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

/// A form that is sent with POST; buttons are fields.
struct Form {
    action: String,
    fields: Vec<(String, String)>,
}

impl Form {
    fn has(&self, field: &str) -> bool {
        self.fields.iter().any(|(name, _)| name == field)
    }
}

fn forms(html: &str) -> Vec<Form> {
    let mut forms: Vec<Option<Form>> = Vec::new();
    for mut tag in tags(html) {
        let mut take = |name: &str| tag.attributes.remove(name).unwrap_or_default();
        match tag.name.as_str() {
            "form" if take("method") == "post" => forms.push(Some(Form { action: take("action"), fields: Vec::new() })),
            "form" => forms.push(None),
            "input" | "button" => {
                if let (Some(Some(form)), name) = (forms.last_mut(), take("name"))
                    && !name.is_empty()
                {
                    form.fields.push((name, take("value")));
                }
            }
            _ => {}
        }
    }
    forms.into_iter().flatten().collect()
}

/// What a program answered.
#[derive(Debug, Clone)]
pub struct Said {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Said {
    /// Its standard output, if it ended well; else an error that shows what it wrote.
    pub fn good(self) -> anyhow::Result<String> {
        ensure!(self.code == 0, "exit code {}\n{}{}", self.code, self.stdout, self.stderr);
        Ok(self.stdout)
    }
}

/// `hxb` on the machine of one person, signed in to one server.
#[derive(Debug, Clone)]
pub struct Hxb {
    program: PathBuf,
    folder: PathBuf,
    server: String,
    authority: PathBuf,
}

impl Hxb {
    /// `program` is the binary, `folder` an own home folder for it, `authority` the PEM file it is told to trust.
    pub fn new(program: &Path, folder: &Path, server: &str, authority: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self {
            program: program.to_owned(),
            folder: folder.to_owned(),
            server: server.to_owned(),
            authority: authority.to_owned(),
        })
    }

    /// The kubeconfig that `hxb kubeconfig` writes.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// `hxb`, about to run with these arguments in the person's environment.
    pub fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        command
            .args(arguments)
            .env("HOME", &self.folder)
            .env("HXB_CONFIG", self.folder.join("hxb.json"))
            .env("HEXABASE_SERVER", &self.server)
            .env("KUBECONFIG", self.kubeconfig());
        command
    }

    /// Runs `hxb` to its end.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<Said> {
        let mut command = Command::from(self.command(arguments));
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = output.await.with_context(|| format!("running {}", self.program.display()))?;
        Ok(Said {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// `hxb login --no-browser`, with a browser of its own in which `email` signs in.
    pub async fn sign_in(&self, email: &str) -> anyhow::Result<Said> {
        let authority = self.authority.display().to_string();
        let login = self.command(&["login", &self.server, "--no-browser", "--certificate-authority", &authority]);
        complete_login(login, &std::fs::read_to_string(&self.authority)?, email).await
    }

    /// `hxb login --device`, confirmed or refused by `email` in a browser elsewhere.
    pub async fn sign_in_by_code(&self, email: &str, agree: bool) -> anyhow::Result<Said> {
        let authority = self.authority.display().to_string();
        let login = self.command(&["login", &self.server, "--device", "--certificate-authority", &authority]);
        let browser = Browser::new(&std::fs::read_to_string(&self.authority)?)?;
        drive(login, async |address| browser.decide_device(&address, email, agree).await.map(drop)).await
    }
}

/// Runs `hxb login --no-browser`, opens the address it asks for in a new browser as `email`, and waits for its end.
pub async fn complete_login(login: std::process::Command, authority_pem: &str, email: &str) -> anyhow::Result<Said> {
    let browser = Browser::new(authority_pem)?;
    drive(login, async |address| browser.open_signed_in(&address, email).await.map(drop)).await
}

async fn drive(
    login: std::process::Command,
    open: impl AsyncFnOnce(String) -> anyhow::Result<()>,
) -> anyhow::Result<Said> {
    let mut command = Command::from(login);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().context("starting hxb")?;
    let mut lines = BufReader::new(child.stderr.take().context("hxb has no standard error")?).lines();
    let mut stderr = String::new();
    let mut open = Some(open);
    while let Some(line) = lines.next_line().await? {
        stderr.push_str(&line);
        stderr.push('\n');
        if let Some((_, address)) = line.split_once(OPEN_THIS)
            && let Some(open) = open.take()
        {
            open(address.trim().to_owned()).await?;
        }
    }
    let mut stdout = String::new();
    child.stdout.take().context("hxb has no standard output")?.read_to_string(&mut stdout).await?;
    let status = child.wait().await?;
    Ok(Said { code: status.code().unwrap_or(-1), stdout, stderr })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_with_its_hidden_fields_and_buttons() {
        let html = "<form><input name=\"x\"></form><p>a=\"b\"</p><form method=\"post\" action=\"?a=1&amp;b=2\">\
                    <input type=\"hidden\" name=\"user_code\" value=\"A&quot;B\"><button name=\"decision\" value=\"agree\">Yes</button></form>";
        let forms = forms(html);
        assert_eq!(forms.len(), 1);
        assert_eq!(forms[0].action, "?a=1&b=2");
        assert_eq!(forms[0].fields[0], ("user_code".to_owned(), "A\"B".to_owned()));
        assert!(forms[0].has("decision"));
    }
}

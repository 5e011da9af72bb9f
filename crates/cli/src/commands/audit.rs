//! `hxb audit`.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use hexabase_api::audit::AuditRecord;
use reqwest::Response;
use serde_json::json;

use crate::args::{Audit, AuditFilters};
use crate::audit::{Head, Report, Verifier};
use crate::client::{Api, Fetched};
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::files::{self, Draft};
use crate::output::{Format, say, table, write};
use crate::{http, resolve};

/// The header of an export with the place and hash of its last line.
const HEAD: &str = "x-audit-head";

pub(crate) async fn run(context: &Context, command: Audit) -> Result<()> {
    let format = context.format;
    match command {
        Audit::List { whose, filters } => {
            let api = context.api()?;
            let all = if whose.me { own(&api).await? } else { listed(&api, whose.org.as_deref(), filters).await? };
            format.show(&all.raw, || rows(all.value))
        }
        Audit::Export { org, file } => export(&context.api()?, org.as_deref(), file.as_deref()).await,
        Audit::Verify { whose: _, file: Some(file), mut heads } => {
            heads.extend(kept_head(&file)?);
            let mut verifier = Verifier::new(heads);
            read_lines(&file, |line| verifier.line(line))?;
            tell(format, verifier.end())
        }
        Audit::Verify { whose, file: None, heads } if whose.me => {
            let mut verifier = Verifier::new(heads);
            let raw = own(&context.api()?).await?.raw;
            raw["items"].as_array().into_iter().flatten().for_each(|record| verifier.line(&record.to_string()));
            tell(format, verifier.end())
        }
        Audit::Verify { whose, file: None, mut heads } => {
            let api = context.api()?;
            let export = Export::open(&api, whose.org.as_deref()).await?;
            // The server's own word is worth little, but tells a log that is cut off on its way.
            heads.push(export.head.clone());
            let mut verifier = Verifier::new(heads);
            export
                .read(|line| {
                    verifier.line(line);
                    Ok(())
                })
                .await?;
            tell(format, verifier.end())
        }
    }
}

async fn own(api: &Api) -> Result<Fetched<Vec<AuditRecord>>> {
    api.list(&["me", "audit"], &[("limit", "200")]).await
}

async fn listed(api: &Api, org: Option<&str>, filters: AuditFilters) -> Result<Fetched<Vec<AuditRecord>>> {
    let organization = resolve::organization_id(api, org).await?;
    let AuditFilters { actor, action, subject, workspace, since, until } = filters;
    let workspace = match workspace {
        Some(workspace) => Some(resolve::workspace_id(api, &workspace).await?.to_string()),
        None => None,
    };
    let (since, until) = (since.map(|moment| moment.to_string()), until.map(|moment| moment.to_string()));
    let conditions = [
        ("actor", actor),
        ("action", action),
        ("subject", subject),
        ("workspace", workspace),
        ("since", since),
        ("until", until),
        ("limit", Some("200".to_owned())),
    ];
    let query: Vec<_> = conditions.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
    api.list(&["organizations", organization.as_str(), "audit"], &query).await
}

fn rows(records: Vec<AuditRecord>) -> String {
    let rows = records.into_iter().map(|record| {
        let actor = match record.on_behalf_of {
            Some(other) => format!("{} for {other}", record.actor),
            None => record.actor,
        };
        let (source, by) = (record.source.unwrap_or_default(), record.credential);
        [record.seq.to_string(), record.at.to_string(), actor, record.action, record.subject, by, source]
    });
    table(["SEQ", "AT", "ACTOR", "ACTION", "SUBJECT", "BY", "FROM"], "Nothing of that kind was changed.", rows)
}

async fn export(api: &Api, org: Option<&str>, file: Option<&Path>) -> Result<()> {
    let export = Export::open(api, org).await?;
    let (head, mut draft, mut last) = (export.head.clone(), file.map(Draft::new).transpose()?, String::new());
    export
        .read(|line| {
            line.clone_into(&mut last);
            let line = format!("{line}\n");
            match &mut draft {
                Some(draft) => draft.write(&line),
                None => write(&line),
            }
        })
        .await?;
    if serde_json::from_str::<AuditRecord>(&last).map_or(0, |record| record.seq) != head.seq {
        return Err(Error::new(Kind::Failure, "the answer broke off; the log is longer").hint("try again"));
    }
    if let (Some(draft), Some(file)) = (draft, file) {
        draft.keep()?;
        // After the log: with the head of an earlier export a log may be longer, with that of a later one it is cut off.
        files::replace(&head_of(file), &format!("{head}\n"))?;
    }
    say(&format!("Head: {head}"));
    Ok(())
}

/// The file beside an exported log that holds its head.
fn head_of(log: &Path) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(".head");
    name.into()
}

/// The head that an export wrote beside its log, if it is there.
fn kept_head(log: &Path) -> Result<Option<Head>> {
    if log == Path::new("-") {
        return Ok(None);
    }
    let path = head_of(log);
    let Some(text) = files::read(&path)? else { return Ok(None) };
    let wrong = |why: String| Error::new(Kind::Failure, format!("{} holds no head: {why}", path.display()));
    text.trim().parse().map(Some).map_err(wrong)
}

/// A log on its way here.
struct Export<'a> {
    api: &'a Api,
    head: Head,
    response: Response,
}

impl<'a> Export<'a> {
    async fn open(api: &'a Api, org: Option<&str>) -> Result<Self> {
        let organization = resolve::organization_id(api, org).await?;
        let response = api.stream(&["organizations", organization.as_str(), "audit", "export"]).await?;
        let head =
            response.headers().get(HEAD).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
        let head = head.ok_or_else(|| http::not_understood(api.server(), format!("there is no header {HEAD}")))?;
        Ok(Self { api, head, response })
    }

    /// Hands on line by line, without keeping them.
    async fn read(mut self, mut each: impl FnMut(&str) -> Result<()>) -> Result<()> {
        let mut waiting = Vec::new();
        while let Some(chunk) =
            self.response.chunk().await.map_err(|error| http::unreachable(self.api.server(), error))?
        {
            waiting.extend_from_slice(&chunk);
            while let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = waiting.drain(..=end).collect();
                each(String::from_utf8_lossy(&line).trim_end())?;
            }
        }
        Ok(())
    }
}

fn read_lines(path: &Path, mut each: impl FnMut(&str)) -> Result<()> {
    let failed = |error| Error::new(Kind::Failure, format!("cannot read {}", path.display())).because(error);
    let input: Box<dyn Read> =
        if path == Path::new("-") { Box::new(std::io::stdin()) } else { Box::new(File::open(path).map_err(failed)?) };
    for line in BufReader::new(input).split(b'\n') {
        each(&String::from_utf8_lossy(&line.map_err(failed)?));
    }
    Ok(())
}

fn tell(format: Format, report: Report) -> Result<()> {
    let Report { chain, head, end_checked, findings } = report;
    let found = findings.len();
    if chain.is_none() && found == 0 && !end_checked {
        return Err(Error::new(Kind::NotWhole, "the log is empty, and nothing says that it may be")
            .hint("give --head with an end of it that was written down"));
    }
    let object = json!({
        "chain": chain, "head": head, "end_checked": end_checked,
        "findings": findings.iter().map(|finding| json!({ "line": finding.line, "what": finding.wrong.to_string() })).collect::<Vec<_>>(),
    });
    let chain = chain.unwrap_or_else(|| "nobody".to_owned());
    format.show(&object, || match found {
        0 => format!("The log of {chain} is whole: {} records. Write down its head:\n{head}", head.seq),
        _ => findings.iter().map(|finding| format!("{finding}\n")).collect(),
    })?;
    if !end_checked {
        say("The end was not checked; give --head.");
    }
    match found {
        0 => Ok(()),
        _ => Err(Error::new(Kind::NotWhole, format!("the log of {chain} is not whole: {found} findings"))),
    }
}

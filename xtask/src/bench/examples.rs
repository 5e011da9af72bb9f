//! What needs no platform: figures that examples of the crates print.

use anyhow::{Context, Result};
use serde_json::Value;

use super::Figure;
use crate::cargo;
use crate::progress::Progress;

/// What it costs to sign a token.
pub(super) fn mint(progress: &Progress) -> Result<Vec<Figure>> {
    let rates = printed(progress, "sign tokens", "hexabase-oidc", "mint")?;
    let detail = || "claims, random id and signature".to_owned();
    Ok(vec![
        Figure::at_least("ES256 mints per core", number(&rates, "ES256")?, "1/s", 5_000.0, detail()),
        Figure::plain("RS256 mints per core", number(&rates, "RS256")?, "1/s", detail()),
    ])
}

/// What it costs to know who is in which groups.
pub(super) fn resolve(progress: &Progress) -> Result<Figure> {
    let found = printed(progress, "resolve groups", "hexabase-core", "resolve")?;
    let detail = "1,000 groups, 10,000 people in three each, as deep as may be; median of 101".to_owned();
    Ok(Figure::at_most("groups of everybody", number(&found, "resolve_ms")?, "ms", 5.0, detail))
}

fn printed(progress: &Progress, step: &str, package: &str, example: &str) -> Result<Value> {
    let printed = progress.long_step(step, || cargo::run_example(package, example))?;
    Ok(serde_json::from_str(&printed)?)
}

fn number(printed: &Value, name: &str) -> Result<f64> {
    printed[name].as_f64().with_context(|| format!("no figure {name}"))
}

//! How many workspace tokens one core signs in a second; printed as JSON for `cargo xtask bench`.

use std::time::Instant;

use hexabase_oidc::Issuer;
use hexabase_oidc::claims::{WorkspaceClaims, WorkspaceGrant, WorkspaceSignIn};
use hexabase_oidc::jwt::{Typ, sign};
use hexabase_oidc::keys::{Algorithm, SigningKey};
use hexabase_oidc::random::random_id;

const SECONDS: f64 = 2.0;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let issuer = Issuer::parse("https://hexabase.example/oidc/ws-1")?;
    let mut rates = Vec::new();
    for algorithm in Algorithm::ALL {
        let key = SigningKey::generate(algorithm)?;
        let begun = Instant::now();
        let mut minted = 0_u32;
        while begun.elapsed().as_secs_f64() < SECONDS {
            let claims = WorkspaceClaims::new(WorkspaceGrant {
                issuer: &issuer,
                subject: "usr-1",
                audience: "ws-1",
                workspace: "ws-1",
                session: "ses-1",
                groups: vec!["WSUsers".to_owned(), "WorkspaceMembers".to_owned()],
                email: Some("alice@example.test".to_owned()),
                name: None,
                client: Some("hxb"),
                sign_in: WorkspaceSignIn::default(),
                now: 1_800_000_000,
                life: 600,
                jti: random_id()?,
            })?;
            sign(&key, &claims, Typ::Jwt)?;
            minted += 1;
        }
        rates.push(format!("\"{algorithm}\": {:.0}", f64::from(minted) / begun.elapsed().as_secs_f64()));
    }
    println!("{{{}}}", rates.join(", "));
    Ok(())
}

//! What an operator has written down in a file and, where it is wrong, in which field and what that may be: the settings' reader
//! speaks to whoever wrote the program.

use std::path::Path;

use anyhow::{Error, Result, anyhow};
use config::ConfigError;
use serde::de::DeserializeOwned;

/// What an operator has written down.
pub(crate) fn read<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let source = config::File::from(file.to_path_buf()).format(config::FileFormat::Toml);
    let settings = config::Config::builder().add_source(source).build();
    let terms = settings.and_then(config::Config::try_deserialize);
    terms.map_err(|cause| match fault(&cause) {
        Some(fault) => anyhow!("{}: {fault}", file.display()),
        None => Error::new(cause).context(format!("{} cannot be read", file.display())),
    })
}

/// The field at fault and what it may be, if that is what is wrong.
fn fault(cause: &ConfigError) -> Option<String> {
    match cause {
        ConfigError::NotFound(field) => Some(match allowed(field) {
            Some(allowed) => format!("{field} is missing; it must be {allowed}"),
            None => format!("{field} is missing"),
        }),
        // A field that nobody knows: what is told names it, and those that there are.
        ConfigError::Message(said) => Some(said.clone()),
        ConfigError::At { error, key: Some(field), .. } => {
            let said = error.to_string();
            Some(match allowed(field) {
                Some(allowed) if !said.starts_with("unknown field") => format!("{field} must be {allowed}"),
                _ => format!("{field}: {said}"),
            })
        }
        ConfigError::Type { key: Some(field), .. } => {
            allowed(field).map(|allowed| format!("{field} must be {allowed}"))
        }
        _ => None,
    }
}

/// What a field of a plan, or of an organisation's quota, may be.
fn allowed(field: &str) -> Option<&'static str> {
    Some(match field.strip_prefix("limits.").unwrap_or(field) {
        "id" => "lower-case letters, digits and hyphens, such as \"team\"",
        "display_name" => "a text for people, such as \"Team\"",
        "price_minor" => "a whole number of cents, such as 9900",
        "currency" => "three upper-case letters, such as \"USD\"",
        "display_order" => "a whole number, the place in lists, such as 4",
        "max_nodes" => "a whole number of nodes, such as 2; leave it out for none",
        "kubernetes" => "a release, such as \"v1.35.4\"; leave it out for the installation's own",
        "sleep_after_minutes" => "a whole number of minutes, such as 240; leave it out for never",
        "store" => "\"sqlite\", the only kind that there is",
        "limits" => "a table [limits] of what a workspace may use",
        "cpu" => "an amount of CPU, such as \"8\" or \"500m\"",
        "memory" | "storage" => "an amount such as \"16Gi\" or \"512Mi\"",
        "pods"
        | "services"
        | "load_balancers"
        | "persistent_volume_claims"
        | "objects"
        | "projects"
        | "members"
        | "workspaces" => "a whole number that is not negative, such as 8",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use hexabase_app::plan_terms::PlanTerms;
    use hexabase_core::quota::Amounts;

    use super::*;

    const TERMS: &str = "id = \"team\"\ndisplay_name = \"Team\"\nprice_minor = 9900\ncurrency = \"EUR\"\ndisplay_order = 4\n\
                         store = \"sqlite\"\n[limits]\ncpu = \"8\"\nmemory = \"16Gi\"\nstorage = \"100Gi\"\npods = 80\n\
                         projects = 8\nmembers = 20\nworkspaces = 3\n";

    /// What is said of a file with this text, after its name.
    fn said<T: DeserializeOwned>(text: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("team.toml");
        std::fs::write(&file, text).unwrap();
        let said = format!("{:#}", read::<T>(&file).err()?);
        Some(said.replace(&format!("{}: ", file.display()), "FILE: "))
    }

    #[test]
    fn a_field_that_is_wrong_is_told_by_its_name_with_what_it_may_be() {
        assert_eq!(said::<PlanTerms>(TERMS), None);
        for (right, wrong, told) in [
            (
                "display_order = 4\n",
                "",
                "FILE: display_order is missing; it must be a whole number, the place in lists, such as 4",
            ),
            (
                "pods = 80",
                "",
                "FILE: limits.pods is missing; it must be a whole number that is not negative, such as 8",
            ),
            ("pods = 80", "pods = -3", "FILE: limits.pods must be a whole number that is not negative, such as 8"),
            ("\"8\"", "\"-8\"", "FILE: limits.cpu must be an amount of CPU, such as \"8\" or \"500m\""),
            ("\"sqlite\"", "\"etcd\"", "FILE: store must be \"sqlite\", the only kind that there is"),
        ] {
            assert_eq!(said::<PlanTerms>(&TERMS.replace(right, wrong)).as_deref(), Some(told), "{wrong}");
        }
        let colour = TERMS.replace("id = ", "colour = \"red\"\nid = ");
        assert!(said::<PlanTerms>(&colour).is_some_and(|said| said.contains("colour") && said.starts_with("FILE: ")));
        let inside = said::<PlanTerms>(&format!("{TERMS}colour = 1\n"));
        assert!(inside.as_ref().is_some_and(|said| said.starts_with("FILE: limits: unknown field")), "{inside:?}");
        let quota = said::<Amounts>("cpu = \"8\"\nmemory = \"much\"\n");
        assert_eq!(quota.as_deref().map(|said| said.starts_with("FILE: memory must be an amount")), Some(true));
    }

    #[test]
    fn a_file_that_is_none_is_told_as_such() {
        assert!(said::<PlanTerms>("id = ").is_some_and(|said| said.contains("cannot be read")));
    }
}

//! Which hosts ingresses may answer for, and how.

use serde_json::{Value, json};

use super::{Case, Place, backend, case, ingress, path, service};

pub(super) fn all() -> Vec<Case> {
    let ours = || ingress(json!({}), json!({}));
    let named = |host: &str| ingress(json!({}), json!({ "rules": [{ "host": host, "http": { "paths": [path()] } }] }));
    let with_class = |class: Value| ingress(json!({}), json!({ "ingressClassName": class }));
    let certified = |host: &str| ingress(json!({}), json!({ "tls": [{ "hosts": [host], "secretName": "x" }] }));
    vec![
        case(
            "a host in a domain of the workspace",
            Place::Shared,
            vec![ours(), named("shop.example"), named("*.shop.example"), named("a.b.blog.example")],
            vec![
                named("bank.example"),
                named("myshop.example"),
                named("shop.example.evil.example"),
                named("*.example"),
                ingress(json!({}), json!({ "rules": [{ "http": { "paths": [path()] } }] })),
            ],
        ),
        case(
            "a certificate for a host outside",
            Place::Shared,
            vec![certified("shop.example")],
            vec![certified("bank.example")],
        ),
        case(
            "the requests for all hosts",
            Place::Shared,
            vec![ours()],
            vec![ingress(json!({}), json!({ "defaultBackend": backend() }))],
        ),
        case(
            "an ingress class that the host gives",
            Place::Shared,
            vec![ours()],
            vec![with_class(json!("internal")), with_class(Value::Null)],
        ),
        case(
            "name its class by annotation",
            Place::Shared,
            vec![ingress(json!({ "vcluster.loft.sh/object-name": "x" }), json!({}))],
            vec![ingress(json!({ "kubernetes.io/ingress.class": "web" }), json!({ "ingressClassName": null }))],
        ),
        case(
            "configuration for the host's ingress controller",
            Place::Shared,
            vec![ingress(json!({ "nginx.ingress.kubernetes.io/rewrite-target": "/" }), json!({}))],
            vec![
                ingress(json!({ "nginx.ingress.kubernetes.io/server-snippet": "location / {}" }), json!({})),
                ingress(json!({ "nginx.ingress.kubernetes.io/server-alias": "bank.example" }), json!({})),
                ingress(json!({ "traefik.ingress.kubernetes.io/router.middlewares": "x" }), json!({})),
            ],
        ),
        // A workspace without domains brings none at all, but everything else.
        case("a host in a domain of the workspace", Place::Dedicated, vec![service(json!({}))], vec![ours()]),
    ]
}

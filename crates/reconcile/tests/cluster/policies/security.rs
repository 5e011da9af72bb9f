//! Pod Security, at the level that workspaces' namespaces have: every control that it has.

use kube::Client;
use serde_json::{Value, json};

use super::cases::pod;
use super::tried;

fn container(context: Value) -> Value {
    pod(json!({ "containers": [{ "name": "main", "image": "busybox", "securityContext": context }] }))
}

fn in_pod(context: Value) -> Value {
    pod(json!({ "securityContext": context }))
}

/// What the level "baseline" refuses, control by control. The one for mounts of `/proc` is left out: of which pods it speaks
/// depends on how Kubernetes was built.
fn refused() -> Vec<(&'static str, Value)> {
    let port = json!({ "containerPort": 80, "hostPort": 8080 });
    let probe = json!({ "httpGet": { "host": "192.0.2.1", "port": 80 } });
    let part = |name: &str, value: &Value| json!({ "name": "main", "image": "busybox", name: value });
    vec![
        ("host network", pod(json!({ "hostNetwork": true }))),
        ("host processes", pod(json!({ "hostPID": true }))),
        ("host IPC", pod(json!({ "hostIPC": true }))),
        (
            "host process",
            pod(json!({ "hostNetwork": true, "securityContext": { "windowsOptions": { "hostProcess": true } } })),
        ),
        ("privileged", container(json!({ "privileged": true }))),
        ("capability", container(json!({ "capabilities": { "add": ["NET_ADMIN"] } }))),
        ("capability of the network", container(json!({ "capabilities": { "add": ["NET_RAW"] } }))),
        ("host path", pod(json!({ "volumes": [{ "name": "v", "hostPath": { "path": "/" } }] }))),
        ("host port", pod(json!({ "containers": [part("ports", &json!([port]))] }))),
        ("host of a probe", pod(json!({ "containers": [part("livenessProbe", &probe)] }))),
        ("AppArmor", container(json!({ "appArmorProfile": { "type": "Unconfined" } }))),
        ("SELinux type", in_pod(json!({ "seLinuxOptions": { "type": "spc_t" } }))),
        ("SELinux user", in_pod(json!({ "seLinuxOptions": { "user": "root" } }))),
        ("SELinux role", in_pod(json!({ "seLinuxOptions": { "role": "system_r" } }))),
        ("seccomp", in_pod(json!({ "seccompProfile": { "type": "Unconfined" } }))),
        ("seccomp of a container", container(json!({ "seccompProfile": { "type": "Unconfined" } }))),
        ("sysctl", in_pod(json!({ "sysctls": [{ "name": "kernel.msgmax", "value": "65536" }] }))),
    ]
}

fn admitted() -> Vec<Value> {
    vec![
        pod(json!({})),
        container(json!({ "runAsUser": 0, "capabilities": { "add": ["NET_BIND_SERVICE", "CHOWN"] } })),
        in_pod(json!({ "seccompProfile": { "type": "RuntimeDefault" }, "seLinuxOptions": { "type": "container_t" } })),
        in_pod(json!({ "sysctls": [{ "name": "net.ipv4.ip_unprivileged_port_start", "value": "0" }] })),
        pod(json!({ "volumes": [{ "name": "v", "emptyDir": {} }] })),
    ]
}

pub(super) async fn holds(client: &Client, workspace: &str, foreign: &str) {
    for (control, object) in refused() {
        let message = tried(client, Some(workspace), &object).await.unwrap_err();
        assert!(message.contains("violates PodSecurity \"baseline"), "{control}: {message}");
        assert_eq!(tried(client, Some(foreign), &object).await, Ok(()), "{control} does not concern others");
    }
    for object in admitted() {
        assert_eq!(tried(client, Some(workspace), &object).await, Ok(()), "{object}");
    }
}

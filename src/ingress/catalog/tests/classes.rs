// SPDX-License-Identifier: Apache-2.0
use super::*;

#[test]
fn classes() {
    let verdict = |options: Options, change: &dyn Fn(&mut Ingress), classes: &[IngressEvent]| {
        let mut one = ingress("i", 1, &["h.com/=a"]);
        change(&mut one);
        let classes = classes.iter().cloned().map(event);
        let (catalog, _) = catalog(options, classes.chain([put(&one)]));
        let verdict = catalog.verdicts().next().expect("one").1;
        assert_eq!(catalog.served().count() == 1, verdict == Verdict::Served);
        verdict.to_string()
    };
    let named = |class: Option<&'static str>, annotation: Option<&'static str>| {
        move |i: &mut Ingress| {
            i.class = class.map(Into::into);
            i.class_annotation = annotation.map(Into::into);
        }
    };
    let plain = Options::default;
    assert_eq!(verdict(plain(), &named(Some("ours"), None), &[]), "served");
    let nginx = [class("nginx", NGINX_CONTROLLER, true)];
    let other = "IngressClass nginx is of controller k8s.io/ingress-nginx";
    assert_eq!(verdict(plain(), &named(Some("nginx"), None), &nginx), other);
    let both = || Options {
        controllers: vec![CONTROLLER.into(), NGINX_CONTROLLER.into()],
        ..Options::default()
    };
    assert_eq!(
        verdict(both(), &named(Some("nginx"), None), &nginx),
        "served"
    );
    assert_eq!(
        verdict(both(), &named(None, None), &nginx),
        "served",
        "default class"
    );
    assert_eq!(verdict(plain(), &named(None, None), &nginx), other);
    let missing = "IngressClass x is not there";
    assert_eq!(verdict(plain(), &named(Some("x"), None), &[]), missing);
    assert_eq!(verdict(plain(), &named(None, Some("x")), &[]), missing);
    assert_eq!(
        verdict(plain(), &named(None, Some("ferrule")), &[]),
        "served"
    );
    assert_eq!(verdict(plain(), &named(None, Some("ours")), &[]), "served");
    let none = "names no class, and there is no default class";
    assert_eq!(verdict(plain(), &named(None, None), &[]), none);
    let without_class = || Options {
        without_class: true,
        ..Options::default()
    };
    assert_eq!(verdict(without_class(), &named(None, None), &[]), "served");
    let elsewhere = || Options {
        namespace: Some("shop".into()),
        ..Options::default()
    };
    let only = "only namespace shop is served";
    assert_eq!(verdict(elsewhere(), &named(Some("ours"), None), &[]), only);
}

#[test]
fn the_newest_of_two_default_classes_counts() {
    let mut one = ingress("i", 1, &["h.com/=a"]);
    one.class = None;
    let newer = IngressClass {
        name: "newer".into(),
        created: 5,
        controller: CONTROLLER.into(),
        is_default: true,
        behaviour: None,
    };
    let older = class("a-older", "example.com/other", true);
    let newer = IngressEvent::Class("newer".into(), Observed::new(newer));
    let (mut catalog, _) = catalog(Options::default(), [event(older), event(newer), put(&one)]);
    assert_eq!(catalog.served().count(), 1);
    catalog.apply(event(IngressEvent::Class("newer".into(), Observed::gone())));
    let update = catalog.commit();
    assert_eq!(catalog.served().count(), 0);
    assert!(!update.served[&name("i")]);
    assert_eq!(find(&catalog, "h.com", "/"), "none");
}

#[test]
fn a_class_decides_how_its_ingresses_are_read() {
    let of = |options: Options, change: &dyn Fn(&mut Ingress), classes: &[IngressEvent]| {
        let mut one = ingress("i", 1, &["h.com/=a"]);
        change(&mut one);
        let classes = classes.iter().cloned().map(event);
        let (catalog, _) = catalog(options, classes.chain([put(&one)]));
        let served = catalog.served().next().expect("one").clone();
        catalog.behaviour(&served)
    };
    let both = || Options {
        controllers: vec![CONTROLLER.into(), NGINX_CONTROLLER.into()],
        class: "legacy".into(),
        without_class: true,
        behaviour: Behaviour::IngressNginx,
        ..Options::default()
    };
    let nginx = [class("nginx", NGINX_CONTROLLER, false)];
    let named = |name: &'static str| move |i: &mut Ingress| i.class = Some(name.into());
    let without = |i: &mut Ingress| i.class = None;
    let legacy = |i: &mut Ingress| i.class_annotation = Some("legacy".into());
    assert_eq!(of(both(), &named("ours"), &nginx), Behaviour::Spec);
    assert_eq!(of(both(), &named("nginx"), &nginx), Behaviour::IngressNginx);
    assert_eq!(of(both(), &without, &nginx), Behaviour::IngressNginx);
    assert_eq!(of(both(), &legacy, &nginx), Behaviour::IngressNginx);
    let default = [class("d", CONTROLLER, true)];
    assert_eq!(of(both(), &without, &default), Behaviour::Spec);
    let foreign = [class("d", "example.com/other", true)];
    assert_eq!(of(both(), &without, &foreign), Behaviour::IngressNginx);
}

#[test]
fn a_class_may_change_its_behaviour() {
    let plain = with_tls(ingress("i", 1, &["h.com/=a"]), &["h.com"], "s");
    let mut noted = with_tls(ingress("j", 1, &["j.com/=a"]), &["j.com"], "s");
    noted
        .annotations
        .insert("proxy-body-size".into(), "2m".into());
    let (mut catalog, _) = catalog(Options::default(), [put(&plain), put(&noted)]);
    let seen = |catalog: &Catalog| {
        let of = |host: &str| {
            let path = catalog
                .table()
                .router
                .host(host)
                .expect("a host")
                .paths()
                .remove(0);
            let settings = &path.route.settings;
            let told = (settings.https_redirect, settings.hsts.is_some());
            assert_eq!(path.behaviour == Behaviour::IngressNginx, told.1);
            told
        };
        [of("h.com"), of("j.com")]
    };
    assert_eq!(seen(&catalog), [(None, false); 2]);
    let change = |behaviour| {
        let IngressEvent::Class(name, observed) = class("ours", CONTROLLER, false) else {
            unreachable!("it is one");
        };
        let class = IngressClass {
            behaviour,
            ..observed.object.expect("a class")
        };
        event(IngressEvent::Class(name, Observed::new(class)))
    };
    catalog.apply(change(Some(Behaviour::IngressNginx)));
    assert_eq!(catalog.commit().work.hosts, 2);
    assert_eq!(seen(&catalog), [(Some(308), true); 2]);
    catalog.apply(change(Some(Behaviour::IngressNginx)));
    assert_eq!(catalog.commit().work, Work::default());
    catalog.apply(change(None));
    catalog.commit();
    assert_eq!(seen(&catalog), [(None, false); 2]);
}

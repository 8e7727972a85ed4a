//! PROXY headers on the wire.

use super::tls::{Trust, connect as tls_connect};
use super::*;
use crate::listen::tls::tests::Files;

const TEXT: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xc0\0\x02\x08\xc6\x33\x64\x01\x12\x67\x01\xbb\x04\0\0";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// 127.0.0.1 is a trusted proxy, other addresses are not.
fn proxied(wanted: ProxyProtocol) -> House {
    house(|settings| {
        settings.proxy_protocol = wanted;
        settings.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
}

async fn client_behind(house: &House, header: &[u8]) -> String {
    let mut stream = house.connect().await;
    stream.write_all(&[header, get("/facts").as_bytes()].concat()).await.unwrap();
    let facts = answer(&mut stream).await.body;
    // The connection goes on with the same client.
    assert_eq!(ask(&mut stream, &get("/facts")).await.body, facts);
    facts.split(' ').nth(2).unwrap().to_owned()
}

async fn is_refused(house: &House, address: &str, bytes: &[u8]) {
    let before = house.counted(Event::ProxyRefused);
    let mut stream = house.connect_from(address).await;
    stream.write_all(bytes).await.unwrap();
    assert_eq!(rest(&mut stream).await, b"");
    assert_eq!((house.counted(Event::ProxyRefused), house.requests()), (before + 1, 0));
}

#[tokio::test]
async fn a_trusted_proxy_says_who_its_client_is() {
    let house = proxied(ProxyProtocol::Any);
    assert_eq!(client_behind(&house, TEXT).await, "client=192.0.2.7");
    assert_eq!(client_behind(&house, BINARY).await, "client=192.0.2.8");
    assert_eq!(client_behind(&house, LOCAL).await, "client=127.0.0.1");
    assert_eq!(client_behind(&house, b"PROXY UNKNOWN\r\n").await, "client=127.0.0.1");
    assert_eq!(house.counted(Event::ProxyRefused), 0);
}

#[tokio::test]
async fn only_the_wanted_form_is_taken() {
    assert_eq!(client_behind(&proxied(ProxyProtocol::V1), TEXT).await, "client=192.0.2.7");
    assert_eq!(client_behind(&proxied(ProxyProtocol::V2), BINARY).await, "client=192.0.2.8");
    is_refused(&proxied(ProxyProtocol::V1), "127.0.0.1", BINARY).await;
    is_refused(&proxied(ProxyProtocol::V2), "127.0.0.1", TEXT).await;
}

#[tokio::test]
async fn a_header_may_come_in_pieces() {
    let house = proxied(ProxyProtocol::Any);
    for header in [TEXT, BINARY] {
        let mut stream = house.connect().await;
        stream.set_nodelay(true).unwrap();
        for byte in header {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert!(ask(&mut stream, &get("/facts")).await.body.contains("client=192.0.2."));
    }
}

#[tokio::test]
async fn a_trusted_proxy_must_send_one_and_in_time() {
    let house = house(|settings| {
        settings.proxy_protocol = ProxyProtocol::Any;
        settings.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        settings.limits.header_time = SHORT;
    });
    is_refused(&house, "127.0.0.1", get("/facts").as_bytes()).await;
    is_refused(&house, "127.0.0.1", &TEXT[..20]).await;
    is_refused(&house, "127.0.0.1", b"").await;
    let probe = house.connect().await;
    drop(probe);
    until("the probe is seen", || house.counted(Event::Accepted) == 4).await;
    house.drain.no_connections().await;
    assert_eq!(house.counted(Event::ProxyRefused), 3, "who connects only to see whether we are there is not refused");
}

#[tokio::test]
async fn nobody_else_may_send_one() {
    let house = proxied(ProxyProtocol::Any);
    let request = get("/facts");
    for header in [TEXT, BINARY] {
        is_refused(&house, "127.0.0.2", &[header, request.as_bytes()].concat()).await;
    }
    let direct = ask(&mut house.connect_from("127.0.0.2").await, &request).await;
    assert!(direct.body.contains("peer=127.0.0.2 client=127.0.0.2 trusted=false"));
    let off = self::house(|settings| settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]);
    is_refused(&off, "127.0.0.1", &[TEXT, request.as_bytes()].concat()).await;
}

#[tokio::test]
async fn the_client_named_is_the_one_whose_connections_are_counted() {
    let house = house(|settings| {
        settings.proxy_protocol = ProxyProtocol::Any;
        settings.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        settings.limits.connections_per_address = 1;
    });
    let mut first = house.connect().await;
    first.write_all(&[TEXT, get("/").as_bytes()].concat()).await.unwrap();
    assert_eq!(answer(&mut first).await.status(), "200");
    let mut second = house.connect().await;
    second.write_all(&[TEXT, get("/").as_bytes()].concat()).await.unwrap();
    assert_eq!(rest(&mut second).await, b"");
    assert_eq!(house.counted(Event::AddressFull), 1);
    assert_eq!(client_behind(&house, BINARY).await, "client=192.0.2.8");
}

#[tokio::test]
async fn the_header_comes_before_tls() {
    let files = Files::new("localhost");
    let house = house(|settings| {
        settings.proxy_protocol = ProxyProtocol::V2;
        settings.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        settings.tls = Some(files.tls.clone());
    });
    let mut tcp = house.connect().await;
    tcp.write_all(BINARY).await.unwrap();
    let mut stream = tls_connect(tcp, Trust::anyone(), &["http/1.1"]).await.unwrap();
    let facts = ask(&mut stream, &get("/facts")).await;
    assert_eq!(facts.body, "main peer=127.0.0.1 client=192.0.2.8 trusted=false tls=true HTTP/1.1");
}

// A reference shell for iOS 14 and later. UNTESTED ON DEVICES: it is meant to be read, checked against ../../vectors and
// fitted into an app. It knows no channel: the envelope says what to call, with what, and what the codes mean.

import CryptoKit
import Foundation
import WebKit

/// What an SDK handed back. The code is compared as text; the data is passed on byte for byte, for it may be signed.
public struct RawResult {
    public let code: String
    public let data: String?
    public init(code: String, data: String? = nil) {
        self.code = code
        self.data = data
    }
}

/// One native SDK of the app, such as Alipay's. `name` is what steps call it: "alipay", "wechat.open".
public protocol PaySDK {
    var name: String { get }
    /// What the `requires` of steps may name: "alipay.sdk".
    var capabilities: [String] { get }
    /// true, false, or nil where this app cannot know (its query scheme is not declared). Never answer false for nil.
    var installed: Bool? { get }
    var version: String { get }
    /// Call the SDK on the main thread. Answer once, also when the result comes through openURL or a universal link.
    func pay(_ arguments: [String: Any]) async -> RawResult
}

/// Why a call was not executed. The numbers are those of openrpc.json.
public struct Refusal: Error {
    let code: Int
    var data: [String: Any] = [:]
    static let parse = Refusal(code: -32700), invalidRequest = Refusal(code: -32600), unknownMethod = Refusal(code: -32601)
    static let invalidParams = Refusal(code: -32602), version = Refusal(code: -32010, data: ["supported": ["1.0"]])
    static let unsupported = Refusal(code: -32011), origin = Refusal(code: -32012), signature = Refusal(code: -32013)
    static let expired = Refusal(code: -32014), replayed = Refusal(code: -32015)
}

/// The public keys the app trusts: shipped with it, or fetched over TLS from the server's key set. At least two may live.
public struct TrustedKeys {
    private var keys: [String: P256.Signing.PublicKey] = [:]

    public init(jwks: Data) throws {
        let set = try JSONSerialization.jsonObject(with: jwks) as? [String: Any]
        for jwk in set?["keys"] as? [[String: String]] ?? [] where jwk["kty"] == "EC" && jwk["crv"] == "P-256" {
            guard let kid = jwk["kid"], let x = Base64URL.strict(jwk["x"]), let y = Base64URL.strict(jwk["y"]),
                  x.count == 32, y.count == 32 else { throw Refusal.signature }
            keys[kid] = try P256.Signing.PublicKey(x963Representation: Data([4]) + x + y)
        }
    }

    func find(_ kid: String) -> P256.Signing.PublicKey? { keys[kid] }
    var names: [String] { Array(keys.keys) }
}

enum Base64URL {
    /// The bytes of the one spelling that base64url has of them; nil for padding, spaces or stray bits.
    static func strict(_ text: String?) -> Data? {
        guard let text = text, text.range(of: "^[A-Za-z0-9_-]*$", options: .regularExpression) != nil else { return nil }
        let plain = text.replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
        guard let data = Data(base64Encoded: plain + String(repeating: "=", count: (4 - plain.count % 4) % 4)) else { return nil }
        return write(data) == text ? data : nil
    }

    static func write(_ data: Data) -> String {
        data.base64EncodedString().replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_")
            .replacingOccurrences(of: "=", with: "")
    }
}

/// What survives the app's end: results by payment until they are acknowledged, and the ids of used envelopes until they expire.
final class Kept {
    private let store = UserDefaults.standard

    func result(_ payment: String) -> [String: Any]? {
        (store.dictionary(forKey: "paycore.results")?[payment] as? String).flatMap(JSON.read)
    }

    func keep(_ claim: [String: Any], for payment: String) {
        change("paycore.results") { $0[payment] = JSON.write(claim) }
    }

    func forget(_ payment: String) { change("paycore.results") { $0[payment] = nil } }

    var pending: [String] { Array((store.dictionary(forKey: "paycore.results") ?? [:]).keys) }

    /// Whether this is the first use. Bounded: a full memory refuses.
    func take(_ jti: String, until exp: Double, now: Double) -> Bool {
        var first = false
        change("paycore.used") { used in
            used = used.filter { ($0.value as? Double ?? 0) > now }
            first = used[jti] == nil && used.count < 4096
            if first { used[jti] = exp }
        }
        return first
    }

    private func change(_ key: String, _ body: (inout [String: Any]) -> Void) {
        var all = store.dictionary(forKey: key) ?? [:]
        body(&all)
        store.set(all, forKey: key)
    }
}

enum JSON {
    static func read(_ text: String) -> [String: Any]? {
        (try? JSONSerialization.jsonObject(with: Data(text.utf8))) as? [String: Any]
    }

    static func write(_ plain: [String: Any]) -> String {
        let data = (try? JSONSerialization.data(withJSONObject: plain, options: [.sortedKeys])) ?? Data("{}".utf8)
        return String(decoding: data, as: UTF8.self)
    }
}

/// The shell. One string in, one string out; run it on the main actor, so that calls come one after the other.
@MainActor
public final class PayCoreShell {
    private let keys: TrustedKeys
    private let audience: String
    private let sdks: [String: PaySDK]
    private let kept = Kept()
    private var open: [String: [String: Any]] = [:]
    private var answered: [String: Task<String, Never>] = [:]

    /// `audience` is "ios:" and the bundle id: the name that envelopes for this app carry.
    public init(keys: TrustedKeys, sdks: [PaySDK]) {
        self.keys = keys
        self.audience = "ios:" + (Bundle.main.bundleIdentifier ?? "")
        self.sdks = Dictionary(uniqueKeysWithValues: sdks.map { ($0.name, $0) })
    }

    /// Answer one message. `origin` is the page's, as the engine says it; `tell` sends an event to the page.
    public func handle(_ text: String, origin: String?, tell: @escaping (String) -> Void) async -> String {
        guard let call = JSON.read(text) else { return refuse(.parse, id: nil) }
        guard call["jsonrpc"] as? String == "2.0", let id = call["id"] as? String, let method = call["method"] as? String else {
            return refuse(.invalidRequest, id: call["id"] as? String)
        }
        // Asked twice under one id (a bridge that loses messages asks again): done once, answered the same.
        if let before = answered[id] { return await before.value }
        let params = call["params"] as? [String: Any] ?? [:]
        let task = Task { await self.answer(id: id, method: method, params: params, origin: origin, tell: tell) }
        answered[id] = task
        return await task.value
    }

    private func answer(id: String, method: String, params: [String: Any], origin: String?, tell: @escaping (String) -> Void) async -> String {
        do {
            guard (params["v"] as? String)?.hasPrefix("1.") == true else { throw Refusal.version }
            let result = try await run(method, params, origin, tell)
            return JSON.write(["jsonrpc": "2.0", "id": id, "result": result])
        } catch let refusal as Refusal {
            return refuse(refusal, id: id)
        } catch {
            return refuse(Refusal(code: -32603), id: id)
        }
    }

    private func run(_ method: String, _ params: [String: Any], _ origin: String?, _ tell: @escaping (String) -> Void) async throws -> [String: Any] {
        switch method { // a closed set, never a lookup by name
        case "paycore.hello": return hello()
        case "paycore.pay": return try await pay(params, origin, tell)
        case "paycore.resume": return resume(try payment(params))
        case "paycore.ack":
            kept.forget(try payment(params))
            return ["v": "1.0"]
        case "paycore.close": return ["v": "1.0", "closed": false]
        case "paycore.finish", "paycore.unfinished": throw Refusal.unsupported // an app with StoreKit answers these from Transaction.unfinished
        default: throw Refusal.unknownMethod
        }
    }

    private func hello() -> [String: Any] {
        var channels: [String: Any] = [:]
        for sdk in sdks.values { channels[sdk.name.replacingOccurrences(of: ".", with: "_")] = ["installed": sdk.installed as Any? ?? NSNull(), "sdk": sdk.version] }
        let info = Bundle.main.infoDictionary ?? [:]
        return [
            "v": ["1.0"], "aud": audience,
            "shell": ["name": info["CFBundleName"] as? String ?? "app", "version": info["CFBundleShortVersionString"] as? String ?? "", "os": "ios"],
            "methods": ["paycore.hello", "paycore.pay", "paycore.resume", "paycore.ack", "paycore.close"],
            "capabilities": sdks.values.flatMap(\.capabilities), "channels": channels, "keys": keys.names, "pending": kept.pending,
        ]
    }

    private func pay(_ params: [String: Any], _ origin: String?, _ tell: @escaping (String) -> Void) async throws -> [String: Any] {
        guard let envelope = params["envelope"] as? String else { throw Refusal.invalidParams }
        if let busy = open.keys.first { throw Refusal(code: -32016, data: ["payment_id": busy]) }
        let claims = try opened(envelope, origin: origin)
        guard let payment = claims["payment_id"] as? String, let plan = claims["plan"] as? [String: Any],
              let steps = plan["steps"] as? [[String: Any]] else { throw Refusal.invalidParams }
        guard let (index, sdk, arguments) = firstRunnable(steps) else { throw Refusal.unsupported }
        var claim: [String: Any] = ["v": "1.0", "payment_id": payment, "step": index, "outcome": "unknown", "final": false]
        open[payment] = claim
        tell(JSON.write(["jsonrpc": "2.0", "method": "paycore.event", "params": ["v": "1.0", "type": "presented", "claim": claim]]))
        let raw = await sdk.pay(arguments)
        let source = "sdk:" + sdk.name
        let (outcome, reason) = meaning(raw.code, table: (claims["results"] as? [String: Any])?[source] as? [String: Any])
        claim["outcome"] = outcome
        claim["reason"] = reason
        claim["final"] = true
        var told: [String: Any] = ["source": source, "code": raw.code]
        told["data"] = raw.data
        claim["raw"] = told
        kept.keep(claim, for: payment) // before anybody is told: the page or the app may end now
        open[payment] = nil
        return claim
    }

    private func resume(_ payment: String) -> [String: Any] {
        kept.result(payment) ?? open[payment] ?? ["v": "1.0", "payment_id": payment, "outcome": "unknown", "reason": "no_such_payment", "final": true]
    }

    /// Everything that must hold before an SDK is touched, in this order: seal, form, app, page, time, first use.
    private func opened(_ envelope: String, origin: String?) throws -> [String: Any] {
        let parts = envelope.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3, let head = Base64URL.strict(parts[0]), let payload = Base64URL.strict(parts[1]),
              let signature = Base64URL.strict(parts[2]), signature.count == 64,
              let header = (try? JSONSerialization.jsonObject(with: head)) as? [String: String],
              Set(header.keys) == ["alg", "kid", "typ"], header["alg"] == "ES256", header["typ"] == "paycore-plan+jws",
              let key = keys.find(header["kid"] ?? ""),
              let ecdsa = try? P256.Signing.ECDSASignature(rawRepresentation: signature), // r and s, not DER
              key.isValidSignature(ecdsa, for: Data("\(parts[0]).\(parts[1])".utf8)) else { throw Refusal.signature }
        guard let claims = (try? JSONSerialization.jsonObject(with: payload)) as? [String: Any] else { throw Refusal.invalidParams }
        guard (claims["v"] as? String)?.hasPrefix("1.") == true else { throw Refusal.version }
        let known: Set = ["v", "iss", "aud", "jti", "iat", "exp", "order_id", "payment_id", "channel", "method", "amount", "plan", "origins", "opens", "results"]
        guard Set(claims.keys).isSubset(of: known), let audiences = claims["aud"] as? [String], let jti = claims["jti"] as? String,
              let iat = claims["iat"] as? Double, let exp = claims["exp"] as? Double, exp > iat, exp <= iat + 300 else { throw Refusal.invalidParams }
        guard audiences.contains(audience) else { throw Refusal.signature }
        if let origin = origin, let allowed = claims["origins"] as? [String], !allowed.contains(origin) { throw Refusal.origin }
        let now = Date().timeIntervalSince1970
        guard now < exp, now >= iat - 60 else { throw Refusal.expired }
        guard kept.take(jti, until: exp, now: now) else { throw Refusal.replayed }
        return claims
    }

    private func firstRunnable(_ steps: [[String: Any]]) -> (Int, PaySDK, [String: Any])? {
        let able = Set(sdks.values.flatMap(\.capabilities))
        for (index, step) in steps.enumerated() {
            guard step["kind"] as? String == "sdk", ["ios", "any"].contains(step["target"] as? String ?? ""),
                  Set(step["requires"] as? [String] ?? []).isSubset(of: able),
                  (step["expires_at"] as? Double).map({ Date().timeIntervalSince1970 * 1e6 < $0 }) ?? true,
                  let params = (step["params_json"] as? String).flatMap(JSON.read),
                  let sdk = sdks[params["sdk"] as? String ?? ""], let arguments = params["arguments"] as? [String: Any] else { continue }
            return (index, sdk, arguments)
        }
        return nil
    }

    /// What a code means by the envelope's table. Total: what is not listed is unknown, never a success.
    private func meaning(_ code: String, table: [String: Any]?) -> (String, String?) {
        var found = (table?["is"] as? [String: [String]])?[code]
        if found == nil, let row = (table?["has"] as? [[String]])?.first(where: { code.contains($0[0]) }) { found = Array(row.dropFirst()) }
        guard let meant = found, let outcome = meant.first else { return ("unknown", "unlisted_code") }
        return (outcome, meant.count > 1 ? meant[1] : nil)
    }

    private func payment(_ params: [String: Any]) throws -> String {
        guard let payment = params["payment_id"] as? String else { throw Refusal.invalidParams }
        return payment
    }

    private func refuse(_ refusal: Refusal, id: String?) -> String {
        var error: [String: Any] = ["code": refusal.code, "message": "refused"]
        if !refusal.data.isEmpty { error["data"] = refusal.data }
        var message: [String: Any] = ["jsonrpc": "2.0", "error": error]
        message["id"] = id
        return JSON.write(message)
    }
}

/// The handler with reply: webView.configuration.userContentController.addScriptMessageHandler(handler, contentWorld: .page,
/// name: "paycoreReply"). `mayPay` is printed by `paycore bridge shells`.
@available(iOS 14.0, *)
@MainActor
public final class PayCoreReplyHandler: NSObject, WKScriptMessageHandlerWithReply {
    private let shell: PayCoreShell
    private let mayPay: (WKScriptMessage) -> String?

    public init(shell: PayCoreShell, mayPay: @escaping (WKScriptMessage) -> String?) {
        self.shell = shell
        self.mayPay = mayPay
    }

    public func userContentController(_ controller: WKUserContentController, didReceive message: WKScriptMessage,
                                      replyHandler: @escaping (Any?, String?) -> Void) {
        // WebKit gives every frame this handler. A frame that may not pay gets no answer and no SDK.
        guard let text = message.body as? String, let origin = mayPay(message) else { return replyHandler(nil, "not allowed") }
        let web = message.webView
        Task {
            let said = await shell.handle(text, origin: origin) { event in
                // One string literal: JSON of a list of one, without its brackets, is safe inside a script.
                let data = (try? JSONSerialization.data(withJSONObject: [event])) ?? Data("[\"\"]".utf8)
                web?.evaluateJavaScript("PayCoreBridge.receive(\(String(decoding: data, as: UTF8.self))[0])")
            }
            replyHandler(said, nil)
        }
    }
}

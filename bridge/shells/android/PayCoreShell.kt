// A reference shell for Android. UNTESTED ON DEVICES: it is meant to be read, checked against ../../vectors and fitted into an
// app. It knows no channel: the envelope says what to call, with what, and what the codes mean.
package com.example.paycore

import android.content.Context
import android.util.Base64
import android.webkit.WebView
import androidx.webkit.WebViewCompat
import androidx.webkit.WebViewFeature
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.launch
import org.json.JSONArray
import org.json.JSONException
import org.json.JSONObject
import java.math.BigInteger
import java.security.AlgorithmParameters
import java.security.KeyFactory
import java.security.PublicKey
import java.security.Signature
import java.security.spec.ECGenParameterSpec
import java.security.spec.ECParameterSpec
import java.security.spec.ECPoint
import java.security.spec.ECPublicKeySpec

/** What an SDK handed back. The code is compared as text; the data is passed on byte for byte, for it may be signed. */
data class RawResult(val code: String, val data: String? = null)

/** One native SDK of the app. [name] is what steps call it: "alipay", "wechat.open". */
interface PaySdk {
    val name: String
    /** What the `requires` of steps may name: "alipay.sdk". */
    val capabilities: List<String>
    /** true, false, or null where this app cannot know (no <queries> in the manifest). Never answer false for null. */
    val installed: Boolean?
    val version: String
    /** Call the SDK. Alipay's payV2 blocks: off the main thread. Answer once, also when the result comes to another activity. */
    suspend fun pay(arguments: JSONObject): RawResult
}

/** Why a call was not executed. The numbers are those of openrpc.json. */
class Refusal(val code: Int, val data: JSONObject? = null) : Exception() {
    companion object {
        const val PARSE = -32700
        const val INVALID_REQUEST = -32600
        const val UNKNOWN_METHOD = -32601
        const val INVALID_PARAMS = -32602
        const val INTERNAL = -32603
        const val VERSION = -32010
        const val UNSUPPORTED = -32011
        const val ORIGIN = -32012
        const val SIGNATURE = -32013
        const val EXPIRED = -32014
        const val REPLAYED = -32015
        const val BUSY = -32016
    }
}

/** The public keys the app trusts: shipped with it, or fetched over TLS from the server's key set. At least two may live. */
class TrustedKeys(jwks: String) {
    private val keys: Map<String, PublicKey>

    init {
        val curve = AlgorithmParameters.getInstance("EC").apply { init(ECGenParameterSpec("secp256r1")) }
            .getParameterSpec(ECParameterSpec::class.java)
        val listed = JSONObject(jwks).getJSONArray("keys")
        keys = (0 until listed.length()).map(listed::getJSONObject)
            .filter { it.optString("kty") == "EC" && it.optString("crv") == "P-256" }
            .associate { jwk ->
                val point = ECPoint(BigInteger(1, strict(jwk.getString("x"), 32)), BigInteger(1, strict(jwk.getString("y"), 32)))
                jwk.getString("kid") to KeyFactory.getInstance("EC").generatePublic(ECPublicKeySpec(point, curve))
            }
    }

    val names get() = keys.keys

    fun verifies(kid: String, raw: ByteArray, signed: ByteArray): Boolean {
        val key = keys[kid] ?: return false
        return try {
            Signature.getInstance("SHA256withECDSA").run { initVerify(key); update(signed); verify(der(raw)) }
        } catch (broken: java.security.SignatureException) {
            false
        }
    }

    /** JWS has r and s, 32 bytes each; Java wants DER. A leading zero byte in either is where this goes wrong: see signatures.json. */
    private fun der(raw: ByteArray): ByteArray {
        val parts = listOf(raw.copyOfRange(0, 32), raw.copyOfRange(32, 64)).map { BigInteger(1, it).toByteArray() }
        val body = parts.fold(ByteArray(0)) { all, one -> all + byteArrayOf(2, one.size.toByte()) + one }
        return byteArrayOf(0x30, body.size.toByte()) + body
    }
}

/** The bytes of the one spelling that base64url has of them; a refusal for padding, spaces or stray bits. */
private fun strict(text: String, size: Int? = null): ByteArray {
    val flags = Base64.URL_SAFE or Base64.NO_PADDING or Base64.NO_WRAP
    val bytes = try {
        Base64.decode(text, flags)
    } catch (broken: IllegalArgumentException) {
        throw Refusal(Refusal.SIGNATURE)
    }
    if (Base64.encodeToString(bytes, flags) != text || (size != null && bytes.size != size)) throw Refusal(Refusal.SIGNATURE)
    return bytes
}

/** What survives the app's end: results by payment until they are acknowledged, and the ids of used envelopes until they expire. */
private class Kept(context: Context) {
    private val results = context.getSharedPreferences("paycore.results", Context.MODE_PRIVATE)
    private val used = context.getSharedPreferences("paycore.used", Context.MODE_PRIVATE)

    fun result(payment: String) = results.getString(payment, null)?.let(::JSONObject)
    // commit and not apply: it must be on the disk before anybody is told
    fun keep(payment: String, claim: JSONObject) { results.edit().putString(payment, claim.toString()).commit() }
    fun forget(payment: String) { results.edit().remove(payment).commit() }
    val pending get() = results.all.keys

    /** Whether this is the first use. Bounded: a full memory refuses. */
    @Synchronized
    fun take(jti: String, until: Long, now: Long): Boolean {
        val edit = used.edit()
        val alive = used.all.filter { (name, end) -> ((end as Long) > now).also { if (!it) edit.remove(name) } }
        val first = jti !in alive && alive.size < 4096
        if (first) edit.putLong(jti, until)
        edit.commit()
        return first
    }
}

/** The shell. One string in, one string out. `audience` is "android:" and the package name. */
class PayCoreShell(context: Context, private val keys: TrustedKeys, sdks: List<PaySdk>, private val scope: CoroutineScope) {
    private val audience = "android:${context.packageName}"
    private val sdks = sdks.associateBy { it.name }
    private val kept = Kept(context)
    private val open = LinkedHashMap<String, JSONObject>()
    private val answered = HashMap<String, CompletableDeferred<String>>()
    private val version = context.packageManager.getPackageInfo(context.packageName, 0).versionName ?: ""

    /** Answer one message; [origin] is the page's as the engine says it, null where nobody can tell. Called on any thread. */
    fun handle(text: String, origin: String?, tell: (String) -> Unit = {}, reply: (String) -> Unit) {
        scope.launch(Dispatchers.Main) { reply(answer(text, origin, tell)) }
    }

    private suspend fun answer(text: String, origin: String?, tell: (String) -> Unit): String {
        val call = try {
            JSONObject(text)
        } catch (broken: JSONException) {
            return refuse(Refusal(Refusal.PARSE), null)
        }
        val id = call.optString("id")
        if (call.optString("jsonrpc") != "2.0" || id.isEmpty()) return refuse(Refusal(Refusal.INVALID_REQUEST), id.ifEmpty { null })
        // Asked twice under one id (a bridge that loses messages asks again): done once, answered the same.
        answered[id]?.let { return it.await() }
        val mine = CompletableDeferred<String>().also { answered[id] = it }
        val said = try {
            val params = call.optJSONObject("params") ?: JSONObject()
            if (!params.optString("v").startsWith("1.")) throw Refusal(Refusal.VERSION, JSONObject().put("supported", JSONArray(listOf("1.0"))))
            message(id).put("result", run(call.optString("method"), params, origin, tell)).toString()
        } catch (refusal: Refusal) {
            refuse(refusal, id)
        } catch (broken: JSONException) {
            refuse(Refusal(Refusal.INVALID_PARAMS), id)
        } catch (broken: RuntimeException) {
            refuse(Refusal(Refusal.INTERNAL), id)
        }
        mine.complete(said)
        return said
    }

    private suspend fun run(method: String, params: JSONObject, origin: String?, tell: (String) -> Unit): JSONObject = when (method) {
        // a closed set, never reflection
        "paycore.hello" -> hello()
        "paycore.pay" -> pay(params, origin, tell)
        "paycore.resume" -> resume(params.getString("payment_id"))
        "paycore.ack" -> { kept.forget(params.getString("payment_id")); v() }
        "paycore.close" -> v().put("closed", false)
        "paycore.finish", "paycore.unfinished" -> throw Refusal(Refusal.UNSUPPORTED) // for stores of apps
        else -> throw Refusal(Refusal.UNKNOWN_METHOD)
    }

    private fun hello(): JSONObject {
        val channels = JSONObject()
        for (sdk in sdks.values) channels.put(sdk.name.replace('.', '_'), JSONObject().put("installed", sdk.installed ?: JSONObject.NULL).put("sdk", sdk.version))
        return JSONObject()
            .put("v", JSONArray(listOf("1.0"))).put("aud", audience)
            .put("shell", JSONObject().put("name", audience.removePrefix("android:")).put("version", version).put("os", "android"))
            .put("methods", JSONArray(listOf("paycore.hello", "paycore.pay", "paycore.resume", "paycore.ack", "paycore.close")))
            .put("capabilities", JSONArray(sdks.values.flatMap { it.capabilities })).put("channels", channels)
            .put("keys", JSONArray(keys.names)).put("pending", JSONArray(kept.pending))
    }

    private suspend fun pay(params: JSONObject, origin: String?, tell: (String) -> Unit): JSONObject {
        open.keys.firstOrNull()?.let { throw Refusal(Refusal.BUSY, JSONObject().put("payment_id", it)) }
        val claims = opened(params.getString("envelope"), origin)
        val payment = claims.getString("payment_id")
        val (index, sdk, arguments) = firstRunnable(claims.getJSONObject("plan").getJSONArray("steps")) ?: throw Refusal(Refusal.UNSUPPORTED)
        val claim = v().put("payment_id", payment).put("step", index).put("outcome", "unknown").put("final", false)
        open[payment] = claim
        tell(JSONObject().put("jsonrpc", "2.0").put("method", "paycore.event")
            .put("params", v().put("type", "presented").put("claim", JSONObject(claim.toString()))).toString())
        try {
            val raw = sdk.pay(arguments)
            val source = "sdk:${sdk.name}"
            val (outcome, reason) = meaning(raw.code, claims.optJSONObject("results")?.optJSONObject(source))
            claim.put("outcome", outcome).put("final", true).putOpt("reason", reason)
                .put("raw", JSONObject().put("source", source).put("code", raw.code).putOpt("data", raw.data))
            kept.keep(payment, claim) // before anybody is told: the page or the app may end now
            return claim
        } finally {
            open.remove(payment)
        }
    }

    private fun resume(payment: String): JSONObject = kept.result(payment) ?: open[payment]
        ?: v().put("payment_id", payment).put("outcome", "unknown").put("reason", "no_such_payment").put("final", true)

    /** Everything that must hold before an SDK is touched, in this order: seal, form, app, page, time, first use. */
    private fun opened(envelope: String, origin: String?): JSONObject {
        val parts = envelope.split(".")
        if (parts.size != 3) throw Refusal(Refusal.SIGNATURE)
        val header = try {
            JSONObject(String(strict(parts[0])))
        } catch (broken: JSONException) {
            throw Refusal(Refusal.SIGNATURE)
        }
        val payload = strict(parts[1])
        val isOurs = header.keys().asSequence().toSet() == setOf("alg", "kid", "typ") &&
            header.getString("alg") == "ES256" && header.getString("typ") == "paycore-plan+jws"
        if (!isOurs || !keys.verifies(header.getString("kid"), strict(parts[2], 64), "${parts[0]}.${parts[1]}".toByteArray())) {
            throw Refusal(Refusal.SIGNATURE)
        }
        val claims = JSONObject(String(payload))
        if (!claims.getString("v").startsWith("1.")) throw Refusal(Refusal.VERSION)
        val iat = claims.getLong("iat")
        val exp = claims.getLong("exp")
        if (!KNOWN.containsAll(claims.keys().asSequence().toSet()) || exp <= iat || exp > iat + 300) throw Refusal(Refusal.INVALID_PARAMS)
        if (audience !in texts(claims.getJSONArray("aud"))) throw Refusal(Refusal.SIGNATURE)
        val origins = claims.optJSONArray("origins")
        if (origin != null && origins != null && origin !in texts(origins)) throw Refusal(Refusal.ORIGIN)
        val now = System.currentTimeMillis() / 1000
        if (now >= exp || now < iat - 60) throw Refusal(Refusal.EXPIRED)
        if (!kept.take(claims.getString("jti"), exp, now)) throw Refusal(Refusal.REPLAYED)
        return claims
    }

    private fun firstRunnable(steps: JSONArray): Triple<Int, PaySdk, JSONObject>? {
        val able = sdks.values.flatMap { it.capabilities }.toSet()
        for (index in 0 until steps.length()) {
            val step = steps.getJSONObject(index)
            val isHere = step.getString("kind") == "sdk" && step.getString("target") in setOf("android", "any")
            val isOver = step.has("expires_at") && step.getLong("expires_at") <= System.currentTimeMillis() * 1000
            if (!isHere || isOver || !able.containsAll(texts(step.getJSONArray("requires")))) continue
            val params = JSONObject(step.getString("params_json"))
            val sdk = sdks[params.getString("sdk")] ?: continue
            return Triple(index, sdk, params.getJSONObject("arguments"))
        }
        return null
    }

    /** What a code means by the envelope's table. Total: what is not listed is unknown, never a success. */
    private fun meaning(code: String, table: JSONObject?): Pair<String, String?> {
        table?.optJSONObject("is")?.optJSONArray(code)?.let { return it.getString(0) to it.optString(1).ifEmpty { null } }
        val rows = table?.optJSONArray("has") ?: JSONArray()
        for (number in 0 until rows.length()) {
            val row = rows.getJSONArray(number)
            if (row.getString(0) in code) return row.getString(1) to row.optString(2).ifEmpty { null }
        }
        return "unknown" to "unlisted_code"
    }

    private fun v() = JSONObject().put("v", "1.0")
    private fun message(id: String?) = JSONObject().put("jsonrpc", "2.0").putOpt("id", id)
    private fun texts(list: JSONArray) = (0 until list.length()).map(list::getString)

    private fun refuse(refusal: Refusal, id: String?) =
        message(id).put("error", JSONObject().put("code", refusal.code).put("message", "refused").putOpt("data", refusal.data)).toString()

    private companion object {
        val KNOWN = setOf("v", "iss", "aud", "jti", "iat", "exp", "order_id", "payment_id", "channel", "method", "amount", "plan",
            "origins", "opens", "results")
    }
}

/**
 * Puts the shell into a web view. The origins are those that `paycore bridge shells` prints: exact, never a star.
 * Where the engine is too old for this listener, use nothing rather than addJavascriptInterface, unless only the seal is to protect.
 */
fun PayCoreShell.attachTo(web: WebView, payOrigins: Set<String>): Boolean {
    if (!WebViewFeature.isFeatureSupported(WebViewFeature.WEB_MESSAGE_LISTENER)) return false
    WebViewCompat.addWebMessageListener(web, "PayCoreNative", payOrigins) { _, message, origin, isMainFrame, reply ->
        if (isMainFrame) handle(message.data ?: "", origin.toString(), tell = reply::postMessage, reply = reply::postMessage)
    }
    return true
}

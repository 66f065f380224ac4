"""The descriptor of buf/validate/validate.proto, which the rules in our protos refer to. Made by tools/gen.py.

It joins the default pool once, unless somebody else's copy is there already; protovalidate itself needs neither.
"""

import base64
import zlib

from google.protobuf import (
    descriptor_pb2,  # noqa: F401
    descriptor_pool,
    duration_pb2,  # noqa: F401
    field_mask_pb2,  # noqa: F401
    timestamp_pb2,  # noqa: F401
)

PACKED = (
    "c-rM%dypGPnP;@SlD7BhiS3o;mv%|AyN-A5I2#2_La^{U+Qg4Vv7M0ER^-*}uCP{8G^6#dlaLpQlK@pf2*oQvsDnE=5{|3l8S+3!5=bR*cNG$-f~"
    "({1;J9#g$6bZ1I;yz3ub<O18oj)><PrJ9+3Ehe`}ckQb@#8o?ir!=#|yLD78B`IGGS=qkMUeSYh=}K$Q<Ws!O&bbJD1kBkvv>1sp&KMRL;oeseEu"
    "#i9{ivFjCnJ%P*;6Hl?ML@r8tbf=O()OBksIO*aw?IVvzTjoM>{w5IkVPbwKuLdr;I4E|CB$OnRYVonQqNFsk!HzA}g<?`?ZKmu(fQ%V_nOhMiIs"
    "4T8oS1&@nGg>+>73v7JL7^T<ofL`cg{Tb@pu)D1t{v*QY^rfwQ4D9R6R0Db(Xz9Fb|SaQD#zMAfF(#7Dtv9bU+MS6{K=G_IG)y$LwiuaT~u9*yu^"
    "GuSOLRhPiheP^V+S2R9;IGQ}|=zd1wS7QGr!bu}S_jLTC@Ju$)acR<OxHWt+(DuCunQZbjbITqc{>0_!2CcgJdLB~v6X#$?p(sAD#rO&A1z*N%Wy"
    "cn{7Z_@i%%Q9<=G<V|J^U{qq8t{v;FMRt=sUWSR{W>OjBvK_>GN}8F%S)v&t$V!AKpxd2GgeT+@;Ry_^KpW|B0(QvK3KQjppdD|yLS{ou6c^HIOF"
    "pMU*IQfCMN2wu$zQIJ)Djg{!^k(ATGEoxR3|AFv~>{8<i)tKC<m>fvgOR?xUl+G<kxwFU8LZ88%$e^LfkA0ZFZM0YBnmw)iKn5Jey4idPuPWYq1F"
    "A@FGNvSklO+GIN1mM@y1C(~{&7`_u7dL(>C&PW}|ZS;C))AV#HS3JZaLCsdP=BT!*6tbbn1X^@!=s80IFSgz2Yi>q5u+d?82xPX*eYn$K_IbHw@V"
    "cA4xIk4JEc2{Ou$bt}t#Mh6&8Yf7*S+0P@#nr12GMARX22yx~-G?B5A7t~=owGbey%Kebbtkaasq{gfElP_55ie>tmU9|R;(`8k@NckxeaxqyNab"
    ">1y>2>l#kGZ;u{?AW>YIjHPn%6;m}U7Cs#KgpYpMH*0hqzX45+?OK^-&Mj85lDPb5=}o<J$oMW)4Zk`uhim`~}U!K*@ZnnCO{lE-DYhK5Q0@M!4j"
    "(C|V*H$pI7C(@yd^x^T@Y<?kOjNDwV$kEZz&d~61j5e-5svu9=Ad{~r@{m%D-mjp0738Nd(nj#);Cw=-m5k3B+GyzFi$j(qk}`skj;HkfiOk4o=="
    "R$~1o_*q3Q?)FG0Kr1*Fun@gFqr<0n8;CK<GmNraqydwzQ#<ncfrm1OR+QK_5|2CkLnn->0kuqCluQL(JxxagD4aT+PIbfvT_gkY~;y>x?JzJzp{"
    "Uln>o63_527Pf5_yh8=90;de%RB{%4t#h`O}Jo5A9Y&yqnik?!qgUuOn=-kJZ5-j||?7TUnrXH>nWGInIR`i59V{6Ff6X*p6t&#8p|Cvb_^wgqOQ"
    "IjhxD>7mVUPUzksS-^psRBMyuO=@8%at_Ig5On2oj^R**cnoR6?H~spO@9)-j7~W&{|m^scR~0R%_>A$(46b{hCFU7>sB2F+Xa9xrLBHPvissV)O"
    "w&dPK}akQF?wtYl<|%=xRFGS$F~&Ui_3E)9?KCu<w$TAc&EZp<|ddaZP<yej#YW*zoV)->$3ddIz_Sgo2>odX;c`?-R8WW}`Li?z-ITAkCtO1rA6"
    "?>Wo~zgEzIMLntGUaWCa(CVEPR@!xEpeRfccy3VdK%P_vc7AOzLo5`d??Ll?*-vGHM+S)&p;V@n&80HKqb8RFv>=pD!Jicg9WKS$95k$+MBYr+hy"
    "w&4fpAMPdKBHvX9AiPypDsQO3+l%G(47TUX~Xe5+0{W!$6o*FgxPCs6P@fMvtJIc*8U+crC4fK0$+yz6;M&nb{GGEog~h(jse@HK$G>pSA=PKdr%"
    "j7ONaAMhDOuKB!n;u-(WPv=|rN(&_(=um3Li&lBlFow(=YxaT9isGE5Sc^-Op0Ch?62lYM+V^<>CVl<83gSu%@qH&b{GbUwMBJT%Ad|E-Uo9JXXn"
    "$Ow4Dsgrt@<~AWF$F!WAS4i;Z>0TaCTUk9&jV>M`p{|9q)le+Pb<R7+)3Mi01LRRfQxzik6_7`RdGFW|0yie7KK`kxqne&?n>mtz}!FRM;|k1qw|"
    "ZpzbyM#3vl<>WcO+*^8O12^;$G*G4}qi3JO^DYjOJiUP0d#9*yM$pdtKy$->{2NTL`$hK`8o;2aY8B^!ZfI|ttKIb`scTN%6(Szn9>&{{FFR!HIh"
    "VKqYL@tG~=-XUV{<VdY?1pWb&z;{Fzi%}ijiu@D<%=cPN#MnNupCMKMq(s#_BKHARzgt0fqE3!R3+C&9V-Bse!pi^X6|B4?^18Pe{k0bv+)}{F=W"
    "AND?Udt882IA~cM?j#AFY#sH=1yNT|sLkywb$|soME=P4xQgvg@Z{rz7Fkf?uhdTsM_WKL;Bf8NX!sFW1ARYogBQoH@VfGnsQo<m<34{+bWnqwv`"
    "Q6X!x5L(p8>SIm;XEBOf_$$wcdNp31B{=VcUHctGdIyiAn6!;u6;Fn;pBCDYVzf(T}K7R=BE3j3us3UdDx9Z}%HPPFq1*bbiaGGk{gy3|C2u@Q7="
    "aAb<F=9Vyna7A}%V&pRvTH~-g4re$%<x202xgm1Fabj|31*v>U=lRv3&Cu&5=_9>41!6TbrHejc-=-YIc~QSOo6|32xgm&U=kIZO)x14*Ah$t-`x"
    "aLsL>h((^RKL31*v2FhScU5X?52U;>235X?@}vP3YU<rNal->pVn(z^z>O9(yU5<;QDG0X=|irEu6S&SMek2(v@31WU);+Q>=)4(zBRnT1uLWT1p"
    "jCqfFxu7TVpTIJI>qP}&tcKFeClui+?%<i<fQ78!#z^MVuyhsN9Ljti7OO(*#4>*@QO%yncYtbs!-rpVK!v6UGoO-O#f4<^IoVTO%r;+EP;a4y;+"
    "a2DP@vGd0ZsF`zDFF_7aADRv>w;@h~xUgIS*-GZVhSnh(q(jS&3<K%E^P8R?69Kp`4A3YD$!|-9kB=5Z06_XS<zpHb1Z_QO<T7<!p3hlT%LDgf=<"
    "lbX{zdQ%=_gH#y~Ok?5vOIos`&v$^5Tr({=gG39i7fRj_sR*7(O%GshJPLp!BTPSCvVw_gW*>0hn=QhY`qnzy)%6WF8oY$9)a;_4TQ*U0BbCsZ+d"
    "h?^4t7OWlpKnplRTAaYn-t~L-4^B4-5TZ8-5%xCTQkbJN~WCpc@gE*T^{AsTO`V<w^)=@|5J!^t`d|}Z(5Xdm7tt@qobUw1m)DvT9otpvQbXeLOG"
    "ih<y0+{v&m6T)lNCjt0<>xqnyo%a_Vl2a_Vl4a_Vl6a_X%a<y7sIv-wd@-Q`hEy+xv&dW%Il^*@Cur)r^`&53fV7RuSsD5q+noGXuV-n|BO%O5;e"
    "@3(MHUnEzIE}#>rhkXROaisGhlXUtbOT}mb>G+Gi6h)(1=c5wq^hF*3*7-gK-HpFoDgZT=cAhqAr!Vpb(9Yj^(V}UthVss@DyFx%gLr-ue-uzg>>"
    "B3z3@l?7<gTNhFTlcO)xh1{^A(AE`XbK&_k7ZaKZVz2D%mvh`LxAbT*yA3w>XQ7>F19W)Mr)1<^1zi1+B9w)KUcWPC-C@JPapR*M>0AWeWrKMUEG"
    "vadgxi&*zYWhOHFT7uisZu0sQ+2cInt%Hy6^4(hdX&_)J6B@XJfa?mD3K4lK-E#aWe4}D4;)NALUjgEZ^4(giVr{JKji+&0Y>e}$9;GiuM|CBkXw"
    "}gW>Hvsyy#arCWLERn#6&$oxVxWS9wrCL4<e*+F2W?ao)XG7<Rt|b@!=N?}>a}vvmB&FJUW0lpzx<}2wvf=i$gRa_2BlH2-tb81`%M<w7g;Vw7m<"
    "Ow^k#)ZKO@o5zQ}_>L+?}Y2U5EA^CTAf0h5RJMgA9f=<mJgq-3y$64Ad>B#&_i6a5xGN^)m7^jTQaba%%?e*lY^-bw+{pGjo2FY<jLqtE)#ee!(K"
    "L^k@2)nQynM_;h|i;MZ_j}_Ffw^UH{H3bFrR*s6^r3gye$D?%SLfa5dddk8{`yw;N=q>1&G^)=bDZRo<O8X)ki_stoNN#-ASSb&UT3Knojg>YsHY"
    "%~wej6)oLU2@OrTwL>wE59diIw)3u+m0{M@?4hn)s;6N?jKqHCd@^BcvuPZIKYE%u4%9S!r`)q|aC##?`FU?NL&bm9|Ql)MTYC8Yh)lX}^t?HY!q"
    "TWu^T#R(ftjr8ZXDZ)2q^kCpzNf;uDFY??CCdo7IA&%d*Zj)O$w*yv@Z(jHLSA6Zw7u0^X+H-S-A;h`U2jk>Nk@~O<66VLACJiA*bGEA={b?SA?M"
    "fxpuYqki)R?7q~AYW`r7NZFiM~K0IjNrTQ=ML!aUg@b*+6Z{>pqTl!jO@xV#%AUd`NRx#WhrIVgd^bw)ekGkw~)%japUy+R_p>qFKe7-1{0+K_~2"
    "(EGKPc!gFHdJxdIqgkOT6<^IpL8A&e=pL@>3<-`o<IXlC%1QcQgQWg<3A3)!lWXgL#7VhKaSzqby_@#D*erUzEbhUzzaiDn1m1Qz+5fE#t}GAeBA"
    "IFjbjXH=M@@<U1lC*TcHC$=KRMZdar7i^2}K(`5CB0o4+7MR?XCAj3ybOb0$34oA70e%_-1e;QT^n*lq7NfVLQzky19h@zTPwrMHe7s|w;qgKyyu"
    "=cPhg~g~Fu)V=N`j{V_M;Wt)mUaQK1kdQYMq(a_`=CD$pnzh0w_F{6Om9}o70v;Ou#lJSPFAY90tA?<;~?an8jgL!HC$K5Ir0b$qU{{0qI5}Z|FC"
    "qjCqcUWLqK4Cl<93&2WZ7vV_mmNBol_UcE4jf%plKbTOJja{>s>3m&FGv`kWlK{Fj-&<sZyG)usskLpJi<cB%ZNTf1)ppyV$Bd^b#rb%w_77B$wG"
    "bsGg3WlWup5wF{M@YP^@Eo3iM_xBxm<6-}0`0b9bO|k@3m7z6A{ci<Crc27{Gkdmxg1B=1&QzE0O`v#2$soC^JN-}s=+VQbP){VWg62m=ZG5pBdq"
    "G$LL!w8bQ7-f0!)a1qu@`nv$jd5x>3v@p~XZxl?;*OP$HSk11Sn_9i&arRL<qEx(XVSesXdW=Z=h`BvR$d<Jv;bSXOsH#Rb5xhsg8R(8>7}Ob#jP"
    "g3j#*9orqeibk2JV(M>UP|U-emq{#WfgYmeOQ0oe;NxOg@O(93SCr=jcd)j2LRmGVOaL_1&>C9<OxdxTlof4nEY~(yRVb)FhpB!p&`b3EYtZuv1s"
    "yQGIj08g8ct0MdtS`iN#)9FH<bguZWe}1<(Nj>YSKt*YoN3(t_>)lzN(=1RBmx1&_^_R1~hq6L5E@6!W&+kP&bt7vN$1H7!@r*Vg-FBMo|K-lImq"
    "DU0S0`Qj_bPn&fH`eYj%bKz~`q!j6iCofHdKQY>s!EL^W*VJF4Hj*5lVrxnyz$fp9Uh+ba;y}qEJ>jX20EcF7rT8Cm&!4Xz92$WUkP(B52cUbTsk"
    "Y&1z)T9e;C*aTy*8l@o^T>zmg%v%Z5*=<RMh~Kx;5RI@bTWk6Losbu%WIh#EjVblgT<{{fY`_=H0UjmztxX;kdN6ou!c1HdobL8DZoj2vn*R3E;l"
    "u8#i0QhM!c`y!2q!58YU|H_|Bu%*2bB!udHj@vg6uN1{d!HZV2_`9@Jhaq>_QP#3FZliqStR=(CC#BRErCUD6GQrgjHUaqELf8O=E{9X@vR_OZ7n"
    "#%6bo?KyheTkaT>A1CU0ymZGM7Y>i2cZ<P>TW2;Kt<6C(_H|C!#ULX}gJ*OY#5RM(Ha`V#c|}1BV!bArrSk`5E-YxQovT?pM%_lbj4C=KR&Ybow6"
    "<x*f+XmOL@eM`na4b66|6HSficG^-^RP$AkqK7LI3|yz+nUCf@Bp`*EuYBY-8{?F{{}MRhU($i3|*qCA6tro6I2NwXTT_&c#*XaLe?ia(DwVEtLG"
    "Z2VFpxE}NCs)5#b{&=)-DgE-D9Eps+QZL74JhOjW-7=iShF&})pwA$5eKv;D@qM%TDJj{r@>t2POppMi4l^b^z7IHLi*lykp<;@$e#k}Df%^R-Uy"
    "kWa}!z(mzxJL7aYcX%wYTp0Bzb2PsWda+CQD23T{r3u*6>Gi_s5GLlFozIBSk+QE0y>K3(OP>uXE=&Cm4zVKdWyBJKIlPR#3h;Pn~3Va0@Z)1psb"
    "i>B@uPK<0xfqUn#qJtp=Fb8lpDHNVBLY&#bV$_F>4dgeqX+mOwbuYKt(p#pbfM2v@R2*ufUznr#twv_<#~Z4q{`MYxhJ!ps)m^`IV1qvDB7GM>xk"
    "jX;Q4;}Mu?KI}mcD}ta|q|~=Lam3Jw*f#<pGq+%)<me2S3*{22yqIq+RaRt=yE4gXkYPh;SxkSH8ko_psF^$3U=3A-#jV#hZ{ktkfIU_LstdfCSn"
    "U_!LqAi{?IwRrJMzc9z({W394uWMHM-&`=1056qSs!xZ~yez!NX%WCC298b7CQr8#5NiP942%$K`f%n68%`?v=@5+L0V$jehAt-MM_$$R01u#%FK"
    "M1TG@#KM79rO%Hwp@B$GRHHFkMyB%f=>Gbj#KA%a=rhutUGwBeCMWhCKAk?g*x}kPqvz&?_<$r+9j&2z_a%9{&XLJiT***Boyc99BU8E-4RaR!Ok"
    "}|@zc<vss)?;m`Uq~mj2C?(S#LjPkoqy-SA5t2yqh^BYJL<AEU1<~eL?MY|n@~$IXGhGcuG$4<ZC$Mw9#zoBGWxKdIJEMfa8mW6YO3-M>g5u<vj*"
    ";?uXLdPlUh0*Kat6v%*4t0LLdNr)Vm`v4r1d3P{Pp0ufqZ{oFDmBJ1jKq=ye6XnQ3dUVtgLJY56#bvxV$E89jJ#Iz%O?Z+%Xo@a@%L*q2u6F6mAU"
    "1~X%jExMc#x_bE7&a3I(>=bm`;F~YJ=;9;8TP_(JKNi3Jy+@Y9+mBvy;c#dt48CJW3ftj7^6xJ4?{1toiW%!@4a%}^zPzSxF0sRCEoLBHiD03>un"
    "Hc6K^?4QeIgQkq=NZ(oT0(FCCAAB-a-vZ9xmO3|Gi?*(Jd8hj)xO=R}9JYJasMd(k24y@H`S@Px6PZhRCsi_|O%Lo>#rJ(2bC({?LmmLgXlq9_Zg"
    "~IneKpoG3=;fo^w^<3Dzue?!gZ`S?tBsqUlv96ieKA!nV(iqV^4ne3zh@S*kIx=!-T9SB<v@!wx^h@US;vuFYJ&}R7={*g02!!LX6>u`MkP|5K<y"
    "H>%`u+#gS&-C=Z>>;ni!TrP10dG4wp<|br85n-PJ2OZfkexf1Kj$TQR(i&JuX)DXA^T}J14Rk;;WIqqm3_9-0q@=B0k4;!NEM^AD9KT<^WB4IbiP"
    "}P!TEIew0yejlWox}#w<NOJ$MF(yQL_~ALxF8-Y3JCsk$Q{1$O-*1+OK33L}*X-laI6c{1k(-`!4bjyCS+raK8#{&Uk5=Q%u9{Wp3FhvY~`M%btF"
    "A>5vlgE4M4;0oIv(k2|zE)AnwxLch08QsRRP+%I~&Q9w7g`d=Q5p7=vZGVW*RuON#>OtLQ4yR_-bjE=pvw<@|vD;jsZKfnWxBC@8x1$H;KLRyhRK"
    "Uoln$?c&CLGSts;CLwDC@a`1H8=@8kh78t3OfL;R`)@eH!%qj)HFFdR91knQ%D1sIK2JuHTuRnQX4mDA$W%mVN=gmrMry7vO2@^^&RA+fe6Zrm*0"
    "2<+DRv`P4w7aaTSEQFjtntBjV6XEW(#!f*VsE|zuxlGNMD#N7r4=-_vhd<0}e?zt?A`M8}Rh!>+r&`qd|AUKE9v2+)<gEY+V!jguo--Z29JL-vPI"
    "eg<cNjv;=>@s1>&=z#|ldJc@P`MM`fz&(`9TyVpI$>ElNrZ%wd`UK0Wio^%M)Xl9UP%he*9oU^g8D^vosdGLT-W?YmIRW^1W#0Ena&_HSs<HvO}v"
    "d#4k)iczF0_sE+KCrle)D)-&OPTRk}|gq`B${PoO)zkOc;n2~kCO2%aVKX@NeDjK)}d>Nx74*1>eQ%N`sczD&A1M#W^8_(~h{?@Q#UH++J51CCd6"
    "Z@9e}T}CHS&q5+MF7nv5&9Z(#goud~xlrlmA{o*$K)s!}7o@E02Gck}{Wx<2ijBGfyLm^k@w}i`x%<muqg##g(0Ea~<0-VQsQrYtT;2LaO5KjUq~"
    "Gb)*h=zDPVTNtk$+canf6vMnFH~q_)an_tr4?Q8%d*+#?Zg7MLoL<`Gk?mW@y3Bi&@@75Ud-Y%Vy`&nut)1b9wO=YLX>1ZV~t*eG9d%8bbbpszBK"
    "27gWE^UQlhXhE#fYRRY`8cUS+MzPs8{4Z8VSt3clH*IK2P-SS$i6|$>dYqdgm<!h}r72N$=>l^H~R&TYTD!uV48K9|eyvjJ-`NpeF0~f#XYSW|z-"
    "gvcZ)KYJ}eu_pY@w=uKM?HTTRv4op``||uK{@@^5b_sg1;TT<PmY=U<j!ii_&c-$*9zaEz2A#^iPiQc^b?eCKWmAqbnOV1pb-Tk9|V&4pn~p)p*o"
    "8b;|q|=Sa+W6X>ti;z9RQ#5>^II(`w=2w789pzowX*jmYzWv8dpwy+^_befhXDXhIxMq|+n0t)X052gGxSb9`M}g5K6gW}&ov7BYLu@HqIb>9{yN"
    "B(}~}#Z;y~AAUozZkr-M2km~U;NM+ZC27aJ^%*A(2S=QBq-DzJ$uq0zI%*jUBBYX8u2Em!j%|n>GKWYz86uUOa&s}d0R@pN*`s=}={EzY_h4#41D"
    "zIFeBsY*8_&`<MFD=C*=O*S#%(?SLf(2-!g#6}J&6ja+r-%D&F7Pr&1WU74}n|5ta2|5S{ZIrx1S5h3uG#jJxPuM{gH#k=)2GX)Gq_X*}=Do#Th?"
    "Jc;LyhjG0&<XP7tEkv8^cPpXg0yWL8*`ajt2{=tiu<eqKle)nsN?D+23@O~S3vJJCqcD&zHWT$iImiLFih3z`Hd(Zm^%bvH=fc+tCdY|)Q*3=`Lp"
    "lQ3_XKnuE!fo#lZ0_XZeed4_m9wkj@{KPL)b%AQwbafxhrDx?8~EjySgq4E<_2#UM8(1lt}NjO7Stv^P+}c(gdV^G=Ec`{$u*lQQMUVlP2H`aJ7q"
    "kyZ19BH{205sNiu}P5Y}>uB}+odQm`dw2}+yMXuh~pMIY6JCY?uR=)5^wZYoCCqjmC_SmB;`5~0JXY?_!xSFb>5Q9Qwx7sDB_9&!okm?S#%oPs(<"
    "jyi@q$bN(IwE>4?vT4`>#i*2e32Mg%Vv9vtX(FT!ARqpJJe4Fnk<OSGKTajp0P=xN^u!!J#O;jnM_dFtB7Q<!CS=<m^TOkG+VZvSex=_NLv(M1_h"
    "duYpia@Cx)b@ew6>sS3~q}}Ww1?Bv6zq_dZ`Wd+q3cQ2-;Sruy9<<)0-NxE|RvNB&iz_gG0U*K{f280{G7N6wfx6b5zgX9b25Yf4en(CZEa~**v-"
    "CK7J5Nu&VH%>Ll`mMQBCsbywtrvZNY7M9w;CMIH4cBBe=HYf(oklho+_#&%5p$)ma+`SBOSNC%SL27Xf;r$8U7>yR&%F-RVsZQAgg?T~=8pj?6Hb"
    "+Rgb1(vy)e-?mb<7;xAkj=hQ0Rni~;BUGR#9JPN31(_8lg(q4>eMy+55y+phxT7TJ^9Y5JyVmr``-lqx0<C-?TOzs89NX^yld~F$$mv$g?d=duDv"
    "(xdiVAHZA0yTPrqkNH%p$}H+}HkTYA~k?#Vs74(&a-Wx%YCCD9tUtT8hV?Vmm{eQ58lgOj_rWDt_BbgxGP*X=)W!~S?|@|wvTZCFESgPe)4uE(R3"
    "yLL~;;`?{)!<Yxr#&Qx=Ezi!wV!)}JOFDcX%{h>xQ_1O0Mg%S6hY8Umb6(lb{iq|G(XzAZ#*$hO;B;G^wnKO#!mdn^YH)pYp4sT^mX+(1uV9dBb{"
    "<72m)F>prfQWwKr7v7t#n$Hr!`9zMxF!$I+I<n6o~X3W`B{9Gp*co4bDDZNTrk8=CsVVx$HJbpw9#dFG-(fvT4Yk)$%%%+{W`i?`ex1zVXYR?g-S"
    "!8+nmD9^sGw<O#@+N3NNU?9+?{{GE8+(*s#Mck;ad2TLmkg#"
)


def _join(pool: descriptor_pool.DescriptorPool) -> None:
    try:
        pool.FindFileByName("buf/validate/validate.proto")
    except KeyError:
        pool.AddSerializedFile(zlib.decompress(base64.b85decode(PACKED)))


_join(descriptor_pool.Default())

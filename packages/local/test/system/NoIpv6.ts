// Preloaded into a program, it makes the kernel one without IPv6: a socket of that family cannot be had.

/** Of Linux, as libuv gives it: address family not supported. */
const EAFNOSUPPORT = -97

interface Internal {
  readonly binding: (name: "tcp_wrap") => { readonly TCP: { readonly prototype: { bind6: () => number } } }
}

;(process as unknown as Internal).binding("tcp_wrap").TCP.prototype.bind6 = () => EAFNOSUPPORT

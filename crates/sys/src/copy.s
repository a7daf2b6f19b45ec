# memmove(3) for x86-64 with SSE2, which every such processor has: rax = rdi, and rdx bytes of rsi are copied there.
# The two may overlap: whatever is read from one end is read before anything is written.
    .text
    .globl rear_memmove
    .type rear_memmove, @function
    .p2align 5
rear_memmove:
    mov rax, rdi
    cmp rdx, 16
    jb 20f
    cmp rdx, 32
    ja 30f
    movups xmm0, [rsi]
    movups xmm1, [rsi + rdx - 16]
    movups [rdi], xmm0
    movups [rdi + rdx - 16], xmm1
    ret

    # Fewer than 16: two words that overlap in the middle.
20:
    cmp edx, 8
    jb 21f
    mov rcx, [rsi]
    mov r8, [rsi + rdx - 8]
    mov [rdi], rcx
    mov [rdi + rdx - 8], r8
    ret
21:
    cmp edx, 4
    jb 22f
    mov ecx, [rsi]
    mov r8d, [rsi + rdx - 4]
    mov [rdi], ecx
    mov [rdi + rdx - 4], r8d
    ret
22:
    # One to three: the first, the middle and the last, which may be the same.
    test edx, edx
    jz 23f
    mov r9, rdx
    shr r9, 1
    movzx ecx, byte ptr [rsi]
    movzx r10d, byte ptr [rsi + r9]
    movzx r8d, byte ptr [rsi + rdx - 1]
    mov [rdi], cl
    mov [rdi + r9], r10b
    mov [rdi + rdx - 1], r8b
23:
    ret

30:
    cmp rdx, 64
    ja 40f
    movups xmm0, [rsi]
    movups xmm1, [rsi + 16]
    movups xmm2, [rsi + rdx - 32]
    movups xmm3, [rsi + rdx - 16]
    movups [rdi], xmm0
    movups [rdi + 16], xmm1
    movups [rdi + rdx - 32], xmm2
    movups [rdi + rdx - 16], xmm3
    ret

    # More than 64: blocks of 64 bytes in the direction in which nothing is overwritten that is still to be read; the block
    # at the far end is read before and written last.
40:
    mov rcx, rdi
    sub rcx, rsi
    cmp rcx, rdx
    jb 50f
    lea r8, [rdi + rdx - 64]
    movups xmm4, [rsi + rdx - 64]
    movups xmm5, [rsi + rdx - 48]
    movups xmm6, [rsi + rdx - 32]
    movups xmm7, [rsi + rdx - 16]
    .p2align 4
41:
    movups xmm0, [rsi]
    movups xmm1, [rsi + 16]
    movups xmm2, [rsi + 32]
    movups xmm3, [rsi + 48]
    add rsi, 64
    movups [rdi], xmm0
    movups [rdi + 16], xmm1
    movups [rdi + 32], xmm2
    movups [rdi + 48], xmm3
    add rdi, 64
    cmp rdi, r8
    jb 41b
    movups [r8], xmm4
    movups [r8 + 16], xmm5
    movups [r8 + 32], xmm6
    movups [r8 + 48], xmm7
    ret

50:
    lea r8, [rdi + 64]
    lea r9, [rsi + rdx]
    lea r10, [rdi + rdx]
    movups xmm4, [rsi]
    movups xmm5, [rsi + 16]
    movups xmm6, [rsi + 32]
    movups xmm7, [rsi + 48]
    .p2align 4
51:
    movups xmm0, [r9 - 16]
    movups xmm1, [r9 - 32]
    movups xmm2, [r9 - 48]
    movups xmm3, [r9 - 64]
    sub r9, 64
    movups [r10 - 16], xmm0
    movups [r10 - 32], xmm1
    movups [r10 - 48], xmm2
    movups [r10 - 64], xmm3
    sub r10, 64
    cmp r10, r8
    ja 51b
    movups [rdi], xmm4
    movups [rdi + 16], xmm5
    movups [rdi + 32], xmm6
    movups [rdi + 48], xmm7
    ret
    .size rear_memmove, . - rear_memmove

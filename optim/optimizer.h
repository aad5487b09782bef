/* SPDX-License-Identifier: MIT
 * optimizer.h - moves parameters along their gradients: one fused pass over all of them, in blocks of constant size, so
 * that the number of threads changes no bit. The rules are rows of optims.def; their formulas stand in kernels/steps.h
 * and, for muon, in optim/muon.h. Groups: weight decay reaches parameters with `decays` (the matrices inside the
 * blocks). Tables - matrices without decay: the embedding and an untied head - may have a learning rate of their own.
 * Under muon the matrices with decay follow muon, everything else follows adamw at the tables' rate. Under adamw8bit
 * parameters of fewer than TN_OPTIMIZER_CODED elements follow adamw. Owns: the slots, in the arena given to create. */
#ifndef TN_OPTIM_OPTIMIZER_H
#define TN_OPTIM_OPTIMIZER_H
#include "optim/param_blocks.h"

typedef enum tn_optimizer_kind {
#define OPTIM(name, slot0, slot1, type) TN_OPTIMIZER_##name,
#include "optim/optims.def"
#undef OPTIM
    TN_OPTIMIZER_COUNT
} tn_optimizer_kind;

enum { TN_OPTIMIZER_SLOTS = 2, TN_OPTIMIZER_CODED = 4096 };

typedef struct tn_optimizer_settings {
    tn_optimizer_kind kind;
    double beta1, beta2; /* adamw, adamw8bit, lion; 0..1 */
    double epsilon;      /* adamw, adamw8bit; > 0 */
    double momentum;     /* sgd, muon; 0..1 */
    bool relative;       /* the rates of quantised matrices are shares of their mean |w|, a (training.md 3.3) */
} tn_optimizer_settings;

typedef struct tn_optimizer_rates {
    double learning_rate, table_learning_rate;
    double weight_decay;
    double grad_scale; /* gradients are read as grad_scale * g (clip.h) */
} tn_optimizer_rates;

typedef struct tn_optimizer tn_optimizer;

typedef enum tn_slot_type { TN_SLOT_REAL, TN_SLOT_CODE } tn_slot_type;

/* One piece of state, as a checkpoint stores it. */
typedef struct tn_slot {
    char name[16]; /* "m", "m_scale" */
    const tn_param *param;
    tn_slot_type type;
    union {
        tn_real *values; /* TN_SLOT_REAL */
        uint8_t *codes;  /* TN_SLOT_CODE */
    };
    int64_t count;
} tn_slot;

const char *tn_optimizer_name(tn_optimizer_kind kind); /* "adamw" */
/* Every parameter of `blocks` must have a gradient. Slots start at zero. Fails: TN_E_NOMEM, TN_E_NOGRAD. */
tn_status tn_optimizer_create(tn_optimizer **out, tn_arena *arena, const tn_param_blocks *blocks,
                              const tn_optimizer_settings *settings);
/* Move every parameter and mark its gradient empty (an empty one moves it like zeros). Leaves sum |w| by block for the
 * refresh that derives the states (tn_model_refresh). */
void tn_optimizer_step(tn_optimizer *optimizer, const tn_optimizer_rates *rates);
/* Forget the gradients of a step that is skipped: mark them empty. */
void tn_optimizer_zero_grads(tn_optimizer *optimizer);
/* True when every value of every parameter is a finite number: what is worth saving. */
bool tn_optimizer_params_finite(const tn_optimizer *optimizer);

/* Updates made so far: the t of adamw's bias corrections. Belongs into a checkpoint together with the slots. */
int64_t tn_optimizer_updates(const tn_optimizer *optimizer);
void tn_optimizer_set_updates(tn_optimizer *optimizer, int64_t updates);
int tn_optimizer_slot_count(const tn_optimizer *optimizer);
tn_slot tn_optimizer_slot(const tn_optimizer *optimizer, int index); /* in the order of the parameters */
size_t tn_slot_bytes(const tn_slot *slot);

#endif

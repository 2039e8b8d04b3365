package v1alpha1

// Condition types of an AccessRequest.
const (
	// ConditionPolicyMatched tells which policy decides the request.
	ConditionPolicyMatched = "PolicyMatched"
	// ConditionApproved tells whether the decisions suffice, and whom to ask.
	ConditionApproved = "Approved"
	// ConditionGranted tells whether the access is held.
	ConditionGranted = "Granted"
	// ConditionEnded tells that the request is over, and why.
	ConditionEnded = "Ended"
)

// Condition types of an AccessGrant.
const (
	// ConditionAccessGiven tells that every binding exists.
	ConditionAccessGiven = "AccessGiven"
	// ConditionAccessRemoved tells that no binding is left, and what the API
	// server answered when it was asked for the subjects' access.
	ConditionAccessRemoved = "AccessRemoved"
	// ConditionStandingAccess lists access that the subjects hold by other
	// means. An AccessRequest carries it too, from before it is decided.
	ConditionStandingAccess = "StandingAccess"
	// ConditionAdmissionEnforced tells whether the admission policies were in
	// force when the access was given. Without them nobody but the API server's
	// audit log knows who really asked and who really decided.
	ConditionAdmissionEnforced = "AdmissionEnforced"
	// ConditionTaskWatched is there, and False, while it cannot be told whether
	// the task is over: completeWhen errs, or the task cannot be read. The access
	// then lasts to its deadline. An AccessRequest carries it too.
	ConditionTaskWatched = "TaskWatched"
)

// ConditionReady tells whether an AccessPolicy can be used, with all its roles.
const ConditionReady = "Ready"

// Reasons of conditions. A request that is over carries the grant's EndReason,
// or one of these, as the reason of Ended.
const (
	// ReasonMatched: a policy allows the request.
	ReasonMatched = "Matched"
	// ReasonNoPolicy: no policy allows the request.
	ReasonNoPolicy = "NoPolicyAllows"
	// ReasonPolicyNotReady: a policy that might allow it cannot be used now.
	ReasonPolicyNotReady = "PolicyNotReady"
	// ReasonInvalid: the request cannot be granted as it is written.
	ReasonInvalid = "Invalid"
	// ReasonRoleNotFound: the role does not exist.
	ReasonRoleNotFound = "RoleNotFound"
	// ReasonNamespaceNotFound: a namespace does not exist.
	ReasonNamespaceNotFound = "NamespaceNotFound"
	// ReasonSubjectNotFound: a ServiceAccount does not exist.
	ReasonSubjectNotFound = "SubjectNotFound"
	// ReasonNeverGrantable: the rules ask for what is never granted.
	ReasonNeverGrantable = "NeverGrantable"
	// ReasonNotSupported: the broker does not do this.
	ReasonNotSupported = "NotSupported"
	// ReasonWaitingForRole, and what follows: a new request waits for what is
	// not there, in case it is on its way.
	ReasonWaitingForRole           = "WaitingForRole"
	ReasonWaitingForNamespace      = "WaitingForNamespace"
	ReasonWaitingForServiceAccount = "WaitingForServiceAccount"
	// ReasonWaitingForPolicy: no policy is about the request.
	ReasonWaitingForPolicy = "WaitingForPolicy"
	// ReasonWaitingForPermission: the broker may not bind the role, write the
	// rules or read the task.
	ReasonWaitingForPermission = "WaitingForPermission"
	// ReasonWaitingForKind: the API server does not know the kind of the task.
	ReasonWaitingForKind = "WaitingForKind"
	// ReasonTooManyPending: the requester has too many requests waiting for
	// decisions.
	ReasonTooManyPending = "TooManyPending"
	// ReasonWaitingForApproval: decisions are missing.
	ReasonWaitingForApproval = "WaitingForApproval"
	// ReasonWaitingForStart: approved, startTime not reached.
	ReasonWaitingForStart = "WaitingForStartTime"
	// ReasonWaitingForTask: the task does not exist yet, or is held back.
	ReasonWaitingForTask = "WaitingForTask"
	// ReasonGrantedBefore: a request of this name and content was granted, and
	// deleted by the broker when its retention was over.
	ReasonGrantedBefore = "GrantedBefore"
	// ReasonTaskOver: the task was over before the grant.
	ReasonTaskOver = "TaskOver"
	// ReasonCompleteWhenErrs: completeWhen cannot be evaluated.
	ReasonCompleteWhenErrs = "CompleteWhenErrs"
	// ReasonTaskUnreadable: the broker may not read the task any more.
	ReasonTaskUnreadable = "TaskUnreadable"
	// ReasonTaskNotServed: the API server serves no version of the task's kind.
	ReasonTaskNotServed = "TaskKindNotServed"
	// ReasonApproved: enough decisions.
	ReasonApproved = "Approved"
	// ReasonDenied: an approver said no.
	ReasonDenied = "Denied"
	// ReasonWithdrawn: the requester took the request back.
	ReasonWithdrawn = "Withdrawn"
	// ReasonLapsed: not decided in time.
	ReasonLapsed = "NotDecidedInTime"
	// ReasonGranted: the access is given.
	ReasonGranted = "Granted"
	// ReasonVerified: the API server was asked and said that it is gone.
	ReasonVerified = "Verified"
	// ReasonRemovalRefused: the access is over, and the API server lets nobody take
	// it away.
	ReasonRemovalRefused = "RemovalRefused"
	// ReasonOtherBindings: the subjects hold access by other means.
	ReasonOtherBindings = "OtherBindings"
	// ReasonOtherGrants: the subjects hold access by other grants, each with an end
	// of its own.
	ReasonOtherGrants = "OtherGrants"
	// ReasonEnforced: every admission policy is installed and bound.
	ReasonEnforced = "Enforced"
	// ReasonNotEnforced: an admission policy is missing, changed or not bound.
	ReasonNotEnforced = "NotEnforced"
	// ReasonNone: nothing was found.
	ReasonNone = "None"
	// ReasonCompiles: the policy compiles.
	ReasonCompiles = "Compiles"
	// ReasonDeleted: the policy was deleted, and a finalizer keeps the object.
	ReasonDeleted = "Deleted"
	// ReasonDoesNotCompile: the policy does not compile.
	ReasonDoesNotCompile = "DoesNotCompile"
	// ReasonRoleNotGrantable: a role of the policy does not exist, or the broker
	// may not bind it. Whatever else the policy allows can be granted.
	ReasonRoleNotGrantable = "RoleNotGrantable"
)

// LabelGrant marks every object that belongs to a grant; its value is the
// grant's name.
const LabelGrant = "jit.accessbroker.dev/grant"

// LabelForgotten marks a grant whose request the broker deleted when its
// retention was over. Its value stands for the request's name and content.
const LabelForgotten = "jit.accessbroker.dev/forgotten"

// FinalizerRevoke keeps a grant until the broker has taken its access away.
const FinalizerRevoke = "jit.accessbroker.dev/revoke"
